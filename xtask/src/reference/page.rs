//! The pages of the reference.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
};

use super::comments::code;
use super::{Contracts, page_of};

const MADE: &str = "<!-- Made by `cargo xtask docs` from the comments and options in the contracts; change it there. -->";

/// All packages, and every RPC with its first sentence.
pub(crate) fn index(contracts: &Contracts, packages: &BTreeMap<String, Vec<FileDescriptor>>) -> Result<String> {
    let mut text = format!("{MADE}\n# API reference\n\n");
    text.push_str(
        "Errors are `google.rpc.Status`: wrong input has `BadRequest` with the fields, a refusal has `ErrorInfo` with the reason that the RPC \
         names and domain `regulars`, overload has `RetryInfo`. `regulars` serves reflection, so a client needs no file from here.\n\n",
    );
    text.push_str("| Package | What it holds |\n|---|---|\n");
    for (package, files) in packages {
        let services: Vec<String> = files.iter().flat_map(FileDescriptor::services).map(|service| code(service.name())).collect();
        let holds = if services.is_empty() { "types that others share".to_owned() } else { services.join(", ") };
        writeln!(text, "| [{package}]({}) | {holds} |", page_of(package))?;
    }
    for (package, files) in packages {
        for service in files.iter().flat_map(FileDescriptor::services) {
            writeln!(text, "\n## {}\n\n{}\n", service.name(), contracts.comments.summary(&service.parent_file(), service.path()))?;
            text.push_str("| RPC | Who may call it | What it does |\n|---|---|---|\n");
            for method in service.methods() {
                let link = format!("{}#{}", page_of(package), anchor(method.name()));
                let summary = contracts.comments.summary(&service.parent_file(), method.path());
                writeln!(text, "| [{}]({link}) | {} | {summary} |", method.name(), contracts.options.roles(&method).join(", "))?;
            }
        }
    }
    Ok(text)
}

/// One package: its services with requests and answers, then what these are made of.
pub(crate) fn package(contracts: &Contracts, package: &str, files: &[FileDescriptor]) -> Result<String> {
    let page = Page { contracts, package };
    let mut text = format!("{MADE}\n# {package}\n");
    let services: Vec<ServiceDescriptor> = files.iter().flat_map(FileDescriptor::services).collect();
    for service in &services {
        page.service(&mut text, service)?;
    }
    let of_rpcs: Vec<MessageDescriptor> = services
        .iter()
        .flat_map(ServiceDescriptor::methods)
        .flat_map(|method| [Some(method.input()), own_answer(&method)])
        .flatten()
        .collect();
    let mut messages = Vec::new();
    let mut enums: Vec<EnumDescriptor> = files.iter().flat_map(FileDescriptor::enums).collect();
    for message in files.iter().flat_map(FileDescriptor::messages) {
        with_nested(message, &mut messages, &mut enums);
    }
    messages.retain(|message| !of_rpcs.contains(message));
    if !messages.is_empty() {
        text.push_str("\n## Messages\n");
    }
    for message in &messages {
        writeln!(text, "\n### {}\n", title(package, message.full_name()))?;
        page.comment(&mut text, &message.parent_file(), message.path())?;
        page.fields(&mut text, message)?;
    }
    if !enums.is_empty() {
        text.push_str("\n## Enums\n");
    }
    for each in &enums {
        page.enumeration(&mut text, each)?;
    }
    page.extensions(&mut text, files)?;
    Ok(text.replace("\n\n\n", "\n\n"))
}

struct Page<'a> {
    contracts: &'a Contracts,
    package: &'a str,
}

impl Page<'_> {
    fn service(&self, text: &mut String, service: &ServiceDescriptor) -> Result<()> {
        let file = service.parent_file();
        writeln!(text, "\n## {}\n", service.name())?;
        self.comment(text, &file, service.path())?;
        for method in service.methods() {
            let stream = |is: bool| if is { "stream of " } else { "" };
            writeln!(text, "\n### {}\n", method.name())?;
            self.comment(text, &file, method.path())?;
            writeln!(text, "Admitted: {}.\n", self.contracts.options.roles(&method).join(", "))?;
            writeln!(text, "**{}{}**\n", stream(method.is_client_streaming()), method.input().name())?;
            self.fields(text, &method.input())?;
            let stream = stream(method.is_server_streaming());
            match own_answer(&method) {
                Some(answer) => {
                    writeln!(text, "\nReturns **{stream}{}**\n", answer.name())?;
                    self.fields(text, &answer)?;
                }
                None => writeln!(text, "\nReturns {stream}{}.", self.link(method.output().full_name(), method.output().package_name()))?,
            }
        }
        Ok(())
    }

    fn fields(&self, text: &mut String, message: &MessageDescriptor) -> Result<()> {
        if message.fields().len() == 0 {
            text.push_str("It has no fields.\n");
            return Ok(());
        }
        let file = message.parent_file();
        let mut fields: Vec<FieldDescriptor> = message.fields().collect();
        fields.sort_by_key(FieldDescriptor::number);
        text.push_str("| Field | Type | Rules | |\n|---|---|---|---|\n");
        for field in &fields {
            let rules = self.contracts.options.rules(field)?;
            let words = self.contracts.comments.paragraphs(&file, field.path()).join("<br>");
            writeln!(text, "| {} | {} | {rules} | {words} |", code(field.name()), self.kind(field))?;
        }
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let one = if self.contracts.options.is_required(&oneof) { "Exactly one" } else { "At most one" };
            let words = self.contracts.comments.paragraphs(&file, oneof.path()).join(" ");
            writeln!(text, "\n{one} of the fields in {} is set. {words}", code(oneof.name()))?;
        }
        Ok(())
    }

    fn enumeration(&self, text: &mut String, each: &EnumDescriptor) -> Result<()> {
        let file = each.parent_file();
        writeln!(text, "\n### {}\n", title(self.package, each.full_name()))?;
        self.comment(text, &file, each.path())?;
        text.push_str("| Value | Number | |\n|---|---|---|\n");
        for value in each.values() {
            let words = self.contracts.comments.paragraphs(&file, value.path()).join(" ");
            writeln!(text, "| {} | {} | {words} |", code(value.name()), value.number())?;
        }
        Ok(())
    }

    /// Options that the package defines for other contracts.
    fn extensions(&self, text: &mut String, files: &[FileDescriptor]) -> Result<()> {
        let mut extensions = files.iter().flat_map(FileDescriptor::extensions).peekable();
        if extensions.peek().is_some() {
            text.push_str("\n## Options\n\n| Option | Of | |\n|---|---|---|\n");
        }
        for extension in extensions {
            let words = self.contracts.comments.paragraphs(&extension.parent_file(), extension.path()).join("<br>");
            writeln!(text, "| {} | {} | {words} |", code(extension.name()), code(extension.containing_message().full_name()))?;
        }
        Ok(())
    }

    fn comment(&self, text: &mut String, file: &FileDescriptor, path: &[i32]) -> Result<()> {
        for paragraph in self.contracts.comments.paragraphs(file, path) {
            writeln!(text, "{paragraph}\n")?;
        }
        Ok(())
    }

    fn kind(&self, field: &FieldDescriptor) -> String {
        let kind = match field.kind() {
            Kind::Message(message) => self.link(message.full_name(), message.package_name()),
            Kind::Enum(each) => self.link(each.full_name(), each.package_name()),
            scalar => code(&format!("{scalar:?}").to_lowercase()),
        };
        if field.cardinality() == Cardinality::Repeated { format!("list of {kind}") } else { kind }
    }

    /// The name of a type, linked to where it is described.
    fn link(&self, name: &str, package: &str) -> String {
        let title = title(package, name);
        if !package.starts_with("regulars.") {
            return code(title);
        }
        let page = if package == self.package { String::new() } else { page_of(package) };
        format!("[{title}]({page}#{})", anchor(title))
    }
}

/// The answer that only this RPC gives; it is described with the RPC.
fn own_answer(method: &MethodDescriptor) -> Option<MessageDescriptor> {
    Some(method.output()).filter(|output| output.name() == format!("{}Response", method.name()))
}

/// The name within its package: `Terms.ReturnPolicy`.
fn title<'a>(package: &str, name: &'a str) -> &'a str {
    name.strip_prefix(package).map_or(name, |rest| rest.trim_start_matches('.'))
}

/// What Markdown viewers make of a heading.
fn anchor(title: &str) -> String {
    title.to_lowercase().replace('.', "")
}

fn with_nested(message: MessageDescriptor, messages: &mut Vec<MessageDescriptor>, enums: &mut Vec<EnumDescriptor>) {
    enums.extend(message.child_enums());
    let nested: Vec<MessageDescriptor> = message.child_messages().filter(|nested| !nested.is_map_entry()).collect();
    messages.push(message);
    for message in nested {
        with_nested(message, messages, enums);
    }
}
