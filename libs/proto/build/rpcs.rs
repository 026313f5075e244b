//! Generates the table of RPCs and the roles that may call them.

use heck::ToUpperCamelCase;
use prost_reflect::{DescriptorPool, MethodDescriptor};

use crate::options::Options;

/// The table, ordered by path, as the expression of a slice; or every RPC that says badly who may call it.
pub(crate) fn generate(pool: &DescriptorPool) -> Result<String, Vec<String>> {
    let options = Options::new(pool);
    let mut methods: Vec<MethodDescriptor> = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    methods.sort_by_key(path);
    let mut faults = Vec::new();
    let rows: Vec<String> = methods.iter().filter_map(|method| row(method, &options).map_err(|fault| faults.push(fault)).ok()).collect();
    if faults.is_empty() { Ok(format!("&[\n{}]\n", rows.concat())) } else { Err(faults) }
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn row(method: &MethodDescriptor, options: &Options) -> Result<String, String> {
    let fault = |text: &str| format!("{}: {text}", method.full_name());
    let numbers = options.roles(method);
    if numbers.is_empty() {
        return Err(fault("an RPC must name the roles that it admits"));
    }
    let roles = method.parent_pool().get_enum_by_name("regulars.common.v1.Role").expect("the option is declared with its enum");
    let mut names = Vec::new();
    for number in numbers {
        let role = roles.get_value(number).filter(|_| number != 0).ok_or_else(|| fault("a role that it admits is not defined"))?;
        names.push(format!("Role::{}", role.name().trim_start_matches("ROLE_").to_upper_camel_case()));
    }
    Ok(format!(
        "Rpc {{ path: {:?}, service: {:?}, method: {:?}, roles: &[{}], input: {:?}, output: {:?}, client_streaming: {}, server_streaming: {} }},\n",
        path(method),
        method.parent_service().full_name(),
        method.name(),
        names.join(", "),
        method.input().full_name(),
        method.output().full_name(),
        method.is_client_streaming(),
        method.is_server_streaming(),
    ))
}
