//! Messages made from a contract alone: every field is set to something that its rules admit.

use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use regex::Regex;

/// Text that some pattern of the contracts admits, the first that fits is taken.
const TEXTS: [&str; 10] = ["2026-05-01T18:00", "1", "a", "tea", "EUR", "CN", "REASON", "en", "1.5", "x-1"];
/// An id that nothing has.
const NOBODY: &str = "00000000-0000-8000-8000-000000000001";

/// A message that obeys its contract, whose names lie in a program.
pub(crate) fn sample(message: &MessageDescriptor, program: &str) -> DynamicMessage {
    let mut sample = DynamicMessage::new(message.clone());
    match message.full_name() {
        "google.protobuf.Timestamp" => set(&mut sample, "seconds", Value::I64(1_768_471_200)),
        "google.protobuf.Duration" => set(&mut sample, "seconds", Value::I64(60)),
        "google.protobuf.FieldMask" => set(&mut sample, "paths", Value::List(vec![Value::String("display_name".to_owned())])),
        _ => {
            for field in message.fields().filter(is_first_of_its_oneof) {
                let value = value(&field, program);
                sample.set_field(&field, if field.cardinality() == Cardinality::Repeated { Value::List(vec![value]) } else { value });
            }
        }
    }
    sample
}

/// Whether a message holds the name of something in a program.
pub(crate) fn names_a_program(message: &MessageDescriptor) -> bool {
    message.fields().any(|field| {
        resource(&field).is_some_and(|pattern| pattern.contains("{program}"))
            || field.kind().as_message().is_some_and(|inner| !inner.full_name().starts_with("google.") && names_a_program(inner))
    })
}

fn set(message: &mut DynamicMessage, field: &str, value: Value) {
    message.set_field_by_name(field, value);
}

fn is_first_of_its_oneof(field: &FieldDescriptor) -> bool {
    field.containing_oneof().and_then(|oneof| oneof.fields().next()).is_none_or(|first| first == *field)
}

fn value(field: &FieldDescriptor, program: &str) -> Value {
    match field.kind() {
        Kind::Message(message) => Value::Message(sample(&message, program)),
        Kind::String => Value::String(text(field, program)),
        Kind::Int32 => Value::I32(i32::try_from(at_least(field, "int32")).unwrap()),
        Kind::Int64 => Value::I64(at_least(field, "int64")),
        Kind::Bool => Value::Bool(true),
        Kind::Enum(kind) => {
            let refused: Vec<i32> = rule(field, "enum", "not_in")
                .and_then(|list| Some(list.as_list()?.iter().filter_map(Value::as_i32).collect()))
                .unwrap_or_default();
            let number = kind.values().map(|value| value.number()).find(|number| *number != 0 && !refused.contains(number));
            Value::EnumNumber(number.expect("an enum has a value"))
        }
        other => panic!("{}: a request that holds {other:?} needs a sample", field.full_name()),
    }
}

fn text(field: &FieldDescriptor, program: &str) -> String {
    if let Some(pattern) = resource(field) {
        let form = pattern.split('|').next().expect("a pattern has a form");
        let segments = form.split('/').map(|segment| match segment {
            "{program}" => program,
            variable if variable.starts_with('{') => NOBODY,
            literal => literal,
        });
        return segments.collect::<Vec<_>>().join("/");
    }
    let Some(pattern) = rule(field, "string", "pattern") else { return "x".to_owned() };
    let pattern = pattern.as_str().expect("a pattern is text").to_owned();
    let admitted = Regex::new(&pattern).expect("the build has read it");
    let found = TEXTS.iter().find(|text| admitted.is_match(text));
    found.unwrap_or_else(|| panic!("{}: add a text to TEXTS that {pattern} admits", field.full_name())).to_string()
}

fn at_least(field: &FieldDescriptor, kind: &str) -> i64 {
    let bound = rule(field, kind, "gte").map_or(1, |bound| bound.as_i64().or(bound.as_i32().map(i64::from)).unwrap());
    bound.max(1)
}

fn resource(field: &FieldDescriptor) -> Option<String> {
    let extension = proto::descriptor_pool().get_extension_by_name("regulars.common.v1.resource").expect("the option is declared");
    let pattern = field.options().get_extension(&extension).as_str().map(str::to_owned);
    pattern.filter(|pattern| !pattern.is_empty())
}

/// A rule of a field, or of each item when it is a list.
fn rule(field: &FieldDescriptor, kind: &str, name: &str) -> Option<Value> {
    let extension = proto::descriptor_pool().get_extension_by_name("buf.validate.field").expect("the option is declared");
    let options = field.options();
    let mut rules = options.get_extension(&extension).into_owned();
    let path: &[&str] = if field.cardinality() == Cardinality::Repeated { &["repeated", "items", kind, name] } else { &[kind, name] };
    for step in path {
        let message = rules.as_message()?;
        if !message.has_field_by_name(step) {
            return None;
        }
        rules = message.get_field_by_name(step)?.into_owned();
    }
    Some(rules)
}
