//! The options of fields and RPCs in words.

use anyhow::{Context, Result, bail};
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MethodDescriptor, OneofDescriptor, ReflectMessage, Value,
};

use super::comments::code;

/// The extensions that carry our options.
pub(crate) struct Options {
    field: ExtensionDescriptor,
    oneof: ExtensionDescriptor,
    resource: ExtensionDescriptor,
    personal: ExtensionDescriptor,
    access: ExtensionDescriptor,
}

impl Options {
    pub(crate) fn of(pool: &DescriptorPool) -> Result<Options> {
        let extension = |name| pool.get_extension_by_name(name).with_context(|| format!("no contract imports the option {name}"));
        Ok(Options {
            field: extension("buf.validate.field")?,
            oneof: extension("buf.validate.oneof")?,
            resource: extension("regulars.common.v1.resource")?,
            personal: extension("regulars.common.v1.personal")?,
            access: extension("regulars.common.v1.access")?,
        })
    }

    /// What is demanded of a field, for a cell of a table.
    pub(crate) fn rules(&self, field: &FieldDescriptor) -> Result<String> {
        let options = field.options();
        let mut words = Vec::new();
        if field.field_descriptor_proto().proto3_optional() {
            words.push("may be absent".to_owned());
        }
        if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
            words.push(format!("one of {}", code(oneof.name())));
        }
        if let Some(rules) = options.get_extension(&self.field).as_message() {
            describe(rules, &field.kind(), &mut words).with_context(|| field.full_name().to_owned())?;
        }
        if let Some(patterns) = options.get_extension(&self.resource).as_str().filter(|patterns| !patterns.is_empty()) {
            words.push(patterns.split('|').map(code).collect::<Vec<_>>().join(" or "));
        }
        if options.get_extension(&self.personal).as_bool() == Some(true) {
            words.push("personal".to_owned());
        }
        Ok(words.join("; "))
    }

    /// Whether one field of the oneof must be set.
    pub(crate) fn is_required(&self, oneof: &OneofDescriptor) -> bool {
        let options = oneof.options();
        let rules = options.get_extension(&self.oneof);
        rules.as_message().and_then(|rules| rules.get_field_by_name("required")?.as_bool()) == Some(true)
    }

    /// Who may call an RPC.
    pub(crate) fn roles(&self, method: &MethodDescriptor) -> Vec<String> {
        let options = method.options();
        let access = options.get_extension(&self.access);
        let roles = access.as_message().and_then(|access| access.get_field_by_name("roles"));
        let roles = roles.as_deref().and_then(Value::as_list).unwrap_or_default();
        let kind = self.access.kind();
        let role = kind.as_message().and_then(|access| access.get_field_by_name("roles")?.kind().as_enum().cloned());
        let name = |number: &Value| {
            Some(role.as_ref()?.get_value(number.as_enum_number()?)?.name().strip_prefix("ROLE_")?.to_lowercase().replace('_', " "))
        };
        roles.iter().filter_map(name).collect()
    }
}

/// Every rule of a message of rules. One that has no words here is an error, so that none is left out of the reference.
fn describe(rules: &DynamicMessage, kind: &Kind, words: &mut Vec<String>) -> Result<()> {
    let unit = match rules.descriptor().name() {
        "StringRules" => " characters",
        "BytesRules" => " bytes",
        "RepeatedRules" => " items",
        _ => "",
    };
    let mut fields: Vec<_> = rules.fields().collect();
    fields.sort_by_key(|(field, _)| (field.name() != "required", field.name().starts_with("max_") || field.name().starts_with('l')));
    for (field, value) in fields {
        match (field.name(), value) {
            ("required", _) => words.push("required".to_owned()),
            ("items", Value::Message(items)) => {
                let mut each = Vec::new();
                describe(items, kind, &mut each)?;
                words.push(format!("each {}", each.join(", ")));
            }
            ("min_len" | "min_items" | "gte", value) => words.push(format!("at least {}{unit}", figure(value)?)),
            ("max_len" | "max_items" | "lte", value) => words.push(format!("at most {}{unit}", figure(value)?)),
            ("gt", value) => words.push(format!("more than {}", figure(value)?)),
            ("lt", value) => words.push(format!("less than {}", figure(value)?)),
            ("pattern", Value::String(pattern)) => words.push(code(pattern)),
            ("defined_only", _) => words.push("a named value".to_owned()),
            ("not_in", Value::List(numbers)) => {
                let name = |number: &Value| Some(code(kind.as_enum()?.get_value(number.as_enum_number().or(number.as_i32())?)?.name()));
                let names: Vec<String> = numbers.iter().filter_map(name).collect();
                words.push(format!("not {}", names.join(" or ")));
            }
            (_, Value::Message(typed)) => describe(typed, kind, words)?,
            (name, value) => bail!("the reference has no words for the rule {name} = {value:?}"),
        }
    }
    Ok(())
}

fn figure(value: &Value) -> Result<String> {
    Ok(match value {
        Value::I32(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::Message(duration) if duration.descriptor().full_name() == "google.protobuf.Duration" => {
            let part =
                |name| duration.get_field_by_name(name).and_then(|value| value.as_i64().or(value.as_i32().map(i64::from))).unwrap_or(0);
            match part("nanos") {
                0 => format!("{} s", part("seconds")),
                nanos => format!("{}.{nanos:09} s", part("seconds")),
            }
        }
        other => bail!("the reference has no words for the bound {other:?}"),
    })
}
