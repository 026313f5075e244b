//! Generates `Debug` for the messages that hold personal data, which must not appear wherever somebody prints a message.

use heck::ToUpperCamelCase;
use prost_reflect::{DescriptorPool, MessageDescriptor, OneofDescriptor};

use crate::names::{Names, identifier, real_oneof};
use crate::options::Options;

/// The messages of the packages below `package` whose `Debug` prost must leave to us, and the code of it.
pub(crate) fn generate(pool: &DescriptorPool, package: &str, root: &str) -> (Vec<String>, String) {
    let options = Options::new(pool);
    let names = Names { root };
    let mut skipped = Vec::new();
    let mut code = String::new();
    let ours = pool.all_messages().filter(|message| message.package_name().split('.').next() == Some(package));
    for message in ours.filter(|message| has_personal(message, &options)) {
        skipped.push(format!(".{}", message.full_name()));
        code += &debug(&message, &options, &names);
    }
    (skipped, code)
}

/// Whether the message or one that it is nested in has a personal field: prost skips both or none.
fn has_personal(message: &MessageDescriptor, options: &Options) -> bool {
    message.fields().any(|field| options.personal(&field)) || message.parent_message().is_some_and(|parent| has_personal(&parent, options))
}

fn debug(message: &MessageDescriptor, options: &Options, names: &Names<'_>) -> String {
    let mut fields = String::new();
    for field in message.fields().filter(|field| real_oneof(field).is_none()) {
        let ident = identifier(field.name());
        let value = if options.personal(&field) { HIDDEN.to_owned() } else { format!("&self.{ident}") };
        fields += &format!(".field({:?}, {value})", field.name());
    }
    let mut oneofs = String::new();
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        fields += &format!(".field({:?}, &self.{})", oneof.name(), identifier(oneof.name()));
        oneofs += &debug_of_oneof(&oneof, options, names);
    }
    let body = format!("f.debug_struct({:?}){fields}.finish()", message.name());
    implementation(&names.message(message), &body) + &oneofs
}

fn debug_of_oneof(oneof: &OneofDescriptor, options: &Options, names: &Names<'_>) -> String {
    let mut arms = String::new();
    for field in oneof.fields() {
        let variant = field.name().to_upper_camel_case();
        let (held, value) = if options.personal(&field) { ("_", HIDDEN) } else { ("value", "value") };
        arms += &format!("            Self::{variant}({held}) => f.debug_tuple({variant:?}).field({value}).finish(),\n");
    }
    implementation(&names.oneof(oneof), &format!("match self {{\n{arms}        }}"))
}

fn implementation(path: &str, body: &str) -> String {
    format!(
        "impl ::core::fmt::Debug for {path} {{\n    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n        {body}\n    }}\n}}\n\n"
    )
}

/// What is printed for personal data.
const HIDDEN: &str = "&::core::format_args!(\"(personal)\")";
