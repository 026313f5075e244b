//! What prost calls the types and fields that it makes of a contract.

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_reflect::{FieldDescriptor, MessageDescriptor, OneofDescriptor};

/// Paths of Rust types below a module.
pub(crate) struct Names<'a> {
    /// The module that holds the modules of the packages.
    pub(crate) root: &'a str,
}

impl Names<'_> {
    /// The path of a message's Rust type, which prost puts into a module named after the message around it.
    pub(crate) fn message(&self, message: &MessageDescriptor) -> String {
        match message.parent_message() {
            Some(parent) => self.nested(&parent, &message.name().to_upper_camel_case()),
            None => self.in_package(message.package_name(), &message.name().to_upper_camel_case()),
        }
    }

    /// The path of the enum that prost makes of a oneof.
    pub(crate) fn oneof(&self, oneof: &OneofDescriptor) -> String {
        self.nested(oneof.parent_message(), &oneof.name().to_upper_camel_case())
    }

    /// The path of a type that prost puts into the module of a message.
    fn nested(&self, message: &MessageDescriptor, name: &str) -> String {
        let mut modules = vec![identifier(&message.name().to_snake_case())];
        let mut outer = message.parent_message();
        while let Some(message) = outer {
            modules.insert(0, identifier(&message.name().to_snake_case()));
            outer = message.parent_message();
        }
        self.in_package(message.package_name(), &format!("{}::{name}", modules.join("::")))
    }

    fn in_package(&self, package: &str, path: &str) -> String {
        let modules: Vec<String> = package.split('.').map(|module| identifier(&module.to_snake_case())).collect();
        format!("{}::{}::{path}", self.root, modules.join("::"))
    }
}

/// The oneof that the field is written in; none for a field that is merely optional.
pub(crate) fn real_oneof(field: &FieldDescriptor) -> Option<OneofDescriptor> {
    field.containing_oneof().filter(|oneof| !oneof.is_synthetic())
}

/// A name as prost writes it where Rust has a keyword of that name.
pub(crate) fn identifier(name: &str) -> String {
    const KEYWORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum", "false", "final",
        "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
        "return", "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while",
        "yield",
    ];
    if KEYWORDS.contains(&name) { format!("r#{name}") } else { name.to_owned() }
}
