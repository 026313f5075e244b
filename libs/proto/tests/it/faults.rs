//! Contracts that must not compile, and what is said about them.

use std::path::Path;

use prost_reflect::DescriptorPool;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

/// Holds one contract, `faulty.proto`.
struct Source(String);

impl FileResolver for Source {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "faulty.proto" => File::from_source(name, &self.0),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn pool(body: &str) -> DescriptorPool {
    let imports = [
        "buf/validate/validate.proto",
        "google/protobuf/any.proto",
        "google/protobuf/duration.proto",
        "google/protobuf/timestamp.proto",
        "regulars/common/v1/access.proto",
    ];
    let imports: String = imports.iter().map(|file| format!("import \"{file}\";\n")).collect();
    let mut files = ChainFileResolver::new();
    files.add(Source(format!("syntax = \"proto3\";\npackage faulty.v1;\n{imports}{body}")));
    files.add(IncludeFileResolver::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")));
    files.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file("faulty.proto").unwrap_or_else(|fault| panic!("{fault:?}"));
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}

/// What is wrong with a request that has these fields.
fn faults(fields: &str) -> Vec<String> {
    let rest = "message Answer {} service S { rpc Ask(Request) returns (Answer); }";
    let pool = pool(&format!("message Request {{ {fields} }} {rest}"));
    crate::checks::generate(&pool, "faulty", "crate").err().unwrap_or_default()
}

#[track_caller]
fn refused(field: &str, fault: &str) {
    let found = faults(field);
    assert!(found.len() == 1 && found[0].starts_with("faulty.v1.Request.x: ") && found[0].contains(fault), "{field}: {found:?}");
}

#[test]
fn a_number_that_no_fingerprint_has_room_for() {
    refused("bool x = 65536;", "numbers above 65535");
    assert_eq!(faults("bool x = 65535;"), [""; 0]);
}

#[test]
fn what_has_no_upper_bound() {
    refused("string x = 1;", "needs string.max_len");
    refused("string x = 1 [(buf.validate.field).string.min_len = 1];", "needs string.max_len");
    refused("string x = 1 [(buf.validate.field).string.pattern = '^[a-z]+$'];", "needs string.max_len");
    refused("string x = 1 [(buf.validate.field).string.pattern = '[a-z]{1,3}'];", "needs string.max_len");
    refused("string x = 1 [(buf.validate.field).string.pattern = '^a$|b'];", "needs string.max_len");
    refused("bytes x = 1;", "bytes.max_len");
    refused("repeated int32 x = 1;", "repeated.max_items");
    refused("repeated string x = 1 [(buf.validate.field).repeated.max_items = 1];", "needs string.max_len");
    refused("google.protobuf.Any x = 1;", "cannot hold google.protobuf.Any");
    refused("map<string, string> x = 1;", "map");
}

#[test]
fn rules_that_do_not_fit() {
    refused("int64 x = 1 [(buf.validate.field).int32.gte = 1];", "the rules of `int32` do not fit");
    refused("bool x = 1 [(buf.validate.field).string.max_len = 1];", "the rules of `string` do not fit");
    refused("uint32 x = 1 [(buf.validate.field).int32.gte = 1];", "the rules of `int32` do not fit");
    refused("google.protobuf.Timestamp x = 1 [(buf.validate.field).duration = {}];", "the rules of `duration` do not fit");
    refused("repeated int32 x = 1 [(buf.validate.field).int32.gte = 1];", "the rules of `int32` do not fit");
    refused("int32 x = 1 [(regulars.common.v1.resource) = 'programs/{program}'];", "only a string");
    refused("int32 x = 1 [(buf.validate.field).int32 = {gt: 3 lt: 4}];", "no value lies within");
    refused("int32 x = 1 [(buf.validate.field).int32.lt = -2147483648];", "no value lies within");
    refused("string x = 1 [(buf.validate.field).string = {min_len: 3 max_len: 2}];", "min_len is greater");
    refused("string x = 1 [(buf.validate.field).string.pattern = '^[a-z$'];", "string.pattern");
    refused("string x = 1 [(buf.validate.field).string.pattern = '^\\\\d{1,3}$'];", "write the characters out");
    refused("string x = 1 [(regulars.common.v1.resource) = 'programs//{x}'];", "neither a word nor a {variable}");
    refused(
        "string x = 1 [(regulars.common.v1.resource) = 'programs/{program}', (buf.validate.field).string.pattern = '^a$'];",
        "its own pattern",
    );
    refused("oneof o { bool x = 1 [(buf.validate.field).required = true]; }", "the oneof itself");
    refused("repeated bool x = 1 [(buf.validate.field).repeated = {max_items: 1 items: {required: true}}];", "items.required");
}

#[test]
fn a_name_that_nobody_would_check() {
    let rule = "string x = 1 [(buf.validate.field).string.max_len = 100];";
    refused(&format!("\n// Format: programs/{{program}}/members/{{member}}\n{rule}"), "has no resource option");
    assert_eq!(faults(&format!("\n// Anything.\n{rule}")), [""; 0]);
}

#[test]
fn all_faults_are_told_at_once_and_nested_ones_too() {
    let found = faults("string a = 1; message Inner { bytes b = 1; } repeated Inner inner = 2; oneof o { string c = 3; }");
    let mut fields: Vec<&str> = found.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["faulty.v1.Request.Inner.b", "faulty.v1.Request.a", "faulty.v1.Request.c", "faulty.v1.Request.inner"]);
}

#[test]
fn a_message_is_not_both_request_and_answer() {
    let pool = pool("message Both {} service S { rpc Ask(Both) returns (Both); }");
    let found = crate::checks::generate(&pool, "faulty", "crate").unwrap_err();
    assert_eq!(found, ["faulty.v1.Both: a message cannot be both request and answer"]);
}

#[test]
fn an_rpc_names_its_roles() {
    let rpc = |option: &str| pool(&format!("message Q {{}} message A {{}} service S {{ rpc Ask(Q) returns (A) {{ {option} }} }}"));
    assert_eq!(crate::rpcs::generate(&rpc("")).unwrap_err(), ["faulty.v1.S.Ask: an RPC must name the roles that it admits"]);
    let nobody = rpc("option (regulars.common.v1.access) = {roles: [ROLE_UNSPECIFIED]};");
    assert_eq!(crate::rpcs::generate(&nobody).unwrap_err(), ["faulty.v1.S.Ask: a role that it admits is not defined"]);
    let table = crate::rpcs::generate(&rpc("option (regulars.common.v1.access) = {roles: [ROLE_LANDING_PAGE]};")).unwrap();
    assert!(table.contains(r#"path: "/faulty.v1.S/Ask""#) && table.contains("roles: &[Role::LandingPage]"), "{table}");
}

#[test]
fn messages_with_personal_data_do_not_print_it() {
    let pool = pool(
        "message Open { string a = 1; } message Hidden { string b = 1 [(regulars.common.v1.personal) = true]; message Inner { string c = 1; } }",
    );
    let (skipped, code) = crate::debugs::generate(&pool, "faulty", "crate");
    assert_eq!(skipped, [".faulty.v1.Hidden", ".faulty.v1.Hidden.Inner"]);
    assert!(code.contains("Debug for crate::faulty::v1::hidden::Inner") && !code.contains("self.b"), "{code}");
}
