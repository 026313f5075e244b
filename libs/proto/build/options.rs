//! Reads our options from descriptors.

use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, MethodDescriptor, OneofDescriptor, Value};

/// The extensions that carry our options.
pub(crate) struct Options {
    field: ExtensionDescriptor,
    oneof: ExtensionDescriptor,
    resource: ExtensionDescriptor,
    access: ExtensionDescriptor,
    personal: ExtensionDescriptor,
}

/// What is demanded of a field, or of each item of a list.
pub(crate) struct Rules {
    pub(crate) required: bool,
    /// The pattern of a resource name.
    pub(crate) resource: Option<String>,
    /// Name and content of the rules for the field's type, for example `string`.
    typed: Option<(String, DynamicMessage)>,
}

impl Options {
    pub(crate) fn new(pool: &DescriptorPool) -> Options {
        let extension = |name| pool.get_extension_by_name(name).unwrap_or_else(|| panic!("no contract imports the option {name}"));
        Options {
            field: extension("buf.validate.field"),
            oneof: extension("buf.validate.oneof"),
            resource: extension("regulars.common.v1.resource"),
            access: extension("regulars.common.v1.access"),
            personal: extension("regulars.common.v1.personal"),
        }
    }

    pub(crate) fn rules(&self, field: &FieldDescriptor) -> Rules {
        let options = field.options();
        let resource = options.get_extension(&self.resource);
        let resource = resource.as_str().filter(|pattern| !pattern.is_empty()).map(str::to_owned);
        let rules = options.get_extension(&self.field);
        Rules { resource, ..Rules::new(rules.as_message().expect("the rules of a field are a message")) }
    }

    pub(crate) fn oneof_required(&self, oneof: &OneofDescriptor) -> bool {
        let options = oneof.options();
        let rules = options.get_extension(&self.oneof);
        get(rules.as_message().expect("the rules of a oneof are a message"), "required").and_then(|v| v.as_bool()) == Some(true)
    }

    /// Whether the field carries personal data.
    pub(crate) fn personal(&self, field: &FieldDescriptor) -> bool {
        field.options().get_extension(&self.personal).as_bool() == Some(true)
    }

    /// The numbers of the roles that an RPC admits.
    pub(crate) fn roles(&self, method: &MethodDescriptor) -> Vec<i32> {
        let options = method.options();
        let access = options.get_extension(&self.access);
        let roles = get(access.as_message().expect("access is a message"), "roles");
        roles.iter().filter_map(Value::as_list).flatten().filter_map(Value::as_enum_number).collect()
    }
}

/// Whether the comment on a field says that it holds the name of something in a program.
pub(crate) fn told_to_be_a_name(field: &FieldDescriptor) -> bool {
    let file = field.parent_file();
    let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
    locations.filter(|location| location.path == field.path()).any(|location| location.leading_comments().contains("programs/{program}"))
}

impl Rules {
    /// No rules.
    pub(crate) const NONE: Rules = Rules { required: false, resource: None, typed: None };

    /// Rules as a message `buf.validate.FieldRules`.
    pub(crate) fn new(rules: &DynamicMessage) -> Rules {
        let typed = rules.fields().find_map(|(field, value)| Some((field.name().to_owned(), value.as_message()?.clone())));
        Rules { required: get(rules, "required").and_then(|v| v.as_bool()) == Some(true), resource: None, typed }
    }

    /// The rules of this kind. Rules of another kind do not fit the field.
    pub(crate) fn of(&self, kind: &str) -> Result<Option<&DynamicMessage>, String> {
        match &self.typed {
            Some((name, rules)) if name == kind => Ok(Some(rules)),
            Some((name, _)) => Err(format!("the rules of `{name}` do not fit its type")),
            None => Ok(None),
        }
    }

    pub(crate) fn none(&self) -> Result<(), String> {
        self.of("").map(drop)
    }
}

/// The value of a field that is set.
pub(crate) fn get(message: &DynamicMessage, name: &str) -> Option<Value> {
    message.has_field_by_name(name).then(|| message.get_field_by_name(name).map(|value| value.into_owned())).flatten()
}

/// A length or a number of items.
pub(crate) fn length(rules: Option<&DynamicMessage>, name: &str) -> Option<u64> {
    get(rules?, name)?.as_u64()
}

/// The inclusive bounds that `lt`, `lte`, `gt` and `gte` leave of a range, given how to read one of their values.
pub(crate) fn bounds(
    rules: Option<&DynamicMessage>,
    whole: (i128, i128),
    read: impl Fn(&Value) -> Option<i128>,
) -> Result<(i128, i128), String> {
    let bound = |name| read(&get(rules?, name)?);
    let min = bound("gte").or_else(|| Some(bound("gt")? + 1)).unwrap_or(whole.0);
    let max = bound("lte").or_else(|| Some(bound("lt")? - 1)).unwrap_or(whole.1);
    if whole.0 <= min && min <= max && max <= whole.1 {
        return Ok((min, max));
    }
    Err("no value lies within its bounds; a range that is turned round is not supported".to_owned())
}
