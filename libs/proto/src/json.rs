//! Messages as text in protobuf's JSON mapping, and the names in them.

use prost::{Message, Name};
use prost_reflect::{DynamicMessage, ExtensionDescriptor, MessageDescriptor, Value};

use crate::descriptor_pool;

/// One line of text. Fields stand in the order of their numbers, and what is not set is left out, so that equal messages are equal texts.
pub fn compact(message: &impl Name) -> String {
    serde_json::to_string(&dynamic(message)).expect("every message of ours has a text")
}

/// The same, indented for people.
pub fn pretty(message: &impl Name) -> String {
    serde_json::to_string_pretty(&dynamic(message)).expect("every message of ours has a text")
}

/// Reads a text. A field that is not known is refused.
pub fn parse<M: Name + Default>(text: &str) -> Result<M, serde_json::Error> {
    let mut source = serde_json::Deserializer::from_str(text);
    let read = DynamicMessage::deserialize(descriptor::<M>(), &mut source)?;
    source.end()?;
    Ok(typed(&read))
}

/// The message with every resource name in it as `rename` has it.
pub fn renamed<M: Name + Default>(message: &M, rename: &dyn Fn(&str) -> String) -> M {
    let resource = descriptor_pool().get_extension_by_name("regulars.common.v1.resource").expect("the contracts declare it");
    let mut read = dynamic(message);
    rename_in(&mut read, &resource, rename);
    typed(&read)
}

fn rename_in(message: &mut DynamicMessage, resource: &ExtensionDescriptor, rename: &dyn Fn(&str) -> String) {
    for (field, value) in message.fields_mut() {
        let is_name = field.options().get_extension(resource).as_str().is_some_and(|pattern| !pattern.is_empty());
        let values = match value {
            Value::List(values) => values.as_mut_slice(),
            value => std::slice::from_mut(value),
        };
        for value in values {
            match value {
                Value::String(name) if is_name && !name.is_empty() => *name = rename(name),
                Value::Message(nested) => rename_in(nested, resource, rename),
                _ => {}
            }
        }
    }
}

fn descriptor<M: Name>() -> MessageDescriptor {
    descriptor_pool().get_message_by_name(&M::full_name()).expect("the pool has every message of ours")
}

fn dynamic<M: Name>(message: &M) -> DynamicMessage {
    DynamicMessage::decode(descriptor::<M>(), &message.encode_to_vec()[..]).expect("a message decodes as what it is")
}

fn typed<M: Name + Default>(message: &DynamicMessage) -> M {
    M::decode(&message.encode_to_vec()[..]).expect("a message decodes as what it is")
}
