//! Generates an implementation of `proto::check::Checked` for every message: for what is in a request, code that checks each
//! field; for the rest, nothing.

use std::collections::BTreeSet;

use heck::ToUpperCamelCase;
use prost_reflect::{DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor, Value};
use regex_syntax::hir::Look;

use crate::names::{Names, identifier, real_oneof};
use crate::options::{Options, Rules, bounds, get, length, told_to_be_a_name};

/// The code for all messages of the packages below `package`, which are modules of `root`; or everything that is wrong with
/// their options.
pub(crate) fn generate(pool: &DescriptorPool, package: &str, root: &str) -> Result<String, Vec<String>> {
    let ours = |name: &str| name.split('.').next() == Some(package);
    let methods: Vec<_> =
        pool.services().filter(|service| ours(service.package_name())).flat_map(|s| s.methods().collect::<Vec<_>>()).collect();
    let requests: BTreeSet<String> = methods.iter().map(|method| method.input().full_name().to_owned()).collect();
    let mut generator =
        Generator { options: Options::new(pool), names: Names { root }, patterns: vec![], resources: vec![], faults: vec![] };

    let mut nested = BTreeSet::new();
    for method in &methods {
        // A client would check the answer, which may hold what no request may.
        if requests.contains(method.output().full_name()) {
            generator.faults.push(format!("{}: a message cannot be both request and answer", method.output().full_name()));
        }
        collect(&method.input(), &mut nested);
    }

    let mut code = String::from("use ::proto::check::{Check, Checked};\n\n");
    for message in pool.all_messages().filter(|message| ours(message.package_name()) && !message.is_map_entry()) {
        let request = requests.contains(message.full_name());
        let body = if nested.contains(message.full_name()) { generator.body(&message) } else { String::new() };
        code += &generator.implementation(&message, request, &body);
    }
    code += &generator.statics();
    if generator.faults.is_empty() { Ok(code) } else { Err(generator.faults) }
}

/// Adds the message and all that can be nested in it.
fn collect(message: &MessageDescriptor, found: &mut BTreeSet<String>) {
    if found.insert(message.full_name().to_owned()) {
        for field in message.fields() {
            if let Kind::Message(nested) = field.kind() {
                collect(&nested, found);
            }
        }
    }
}

/// Whether a fingerprint holds the fields of the message in this field one by one. Google's are values as numbers are.
fn taken_apart(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(message) => !field.is_list() && !message.full_name().starts_with("google."),
        _ => false,
    }
}

struct Generator<'a> {
    options: Options,
    names: Names<'a>,
    patterns: Vec<String>,
    resources: Vec<String>,
    faults: Vec<String>,
}

impl Generator<'_> {
    fn implementation(&self, message: &MessageDescriptor, request: bool, body: &str) -> String {
        let nested: Vec<u32> = message.fields().filter(|field| request && taken_apart(field)).map(|field| field.number()).collect();
        let nested = if nested.is_empty() { String::new() } else { format!("    const NESTED: &'static [u32] = &{nested:?};\n") };
        let request = if request { "    const REQUEST: bool = true;\n" } else { "" };
        let request_id = match message.get_field_by_name("request_id") {
            Some(field) => format!("    const REQUEST_ID: Option<u32> = Some({});\n", field.number()),
            None => String::new(),
        };
        let check = match body {
            "" => String::new(),
            body => format!("    fn check<'a>(&'a self, check: &mut Check<'a>) {{\n{body}    }}\n"),
        };
        format!("impl Checked for {} {{\n{request}{request_id}{nested}{check}}}\n\n", self.names.message(message))
    }

    /// The statements that check a message, field by field.
    fn body(&mut self, message: &MessageDescriptor) -> String {
        let mut body = String::new();
        for field in message.fields() {
            if field.number() > u16::MAX.into() {
                self.faults.push(format!("{}: fingerprints of requests have no room for numbers above {}", field.full_name(), u16::MAX));
            }
            match real_oneof(&field) {
                Some(oneof) if oneof.fields().next().as_ref() == Some(&field) => body += &self.oneof(&oneof),
                Some(_) => {}
                None => match self.field(&field) {
                    Ok(code) if code.is_empty() => {}
                    Ok(code) => body += &format!("        {code}\n"),
                    Err(fault) => self.faults.push(format!("{}: {fault}", field.full_name())),
                },
            }
        }
        body
    }

    fn field(&mut self, field: &FieldDescriptor) -> Result<String, String> {
        let name = field.name();
        let ident = identifier(name);
        let rules = self.options.rules(field);
        if field.is_map() {
            return Err("the order of a map is not fixed, so that no request may have one".to_owned());
        }
        if field.is_list() {
            let list = rules.of("repeated")?;
            let max = length(list, "max_items").ok_or("a list in a request needs repeated.max_items")?;
            let min = length(list, "min_items").unwrap_or(0).max(rules.required.into());
            let items = list.and_then(|list| get(list, "items"));
            let items = items.as_ref().and_then(Value::as_message).map(Rules::new);
            let mut items = items.unwrap_or(Rules::NONE);
            if items.required {
                return Err("items.required is not supported".to_owned());
            }
            items.resource = rules.resource.clone();
            let item = self.value(field, &items, true)?;
            let item = if item.is_empty() { "|_, _| {}".to_owned() } else { format!("|check, value| {item}") };
            return Ok(format!("check.field({name:?}, |check| check.items(&self.{ident}, {min}, {max}, {item}));"));
        }
        let value = self.value(field, &rules, false)?;
        Ok(match (field.supports_presence(), rules.required, value.as_str()) {
            (_, false, "") => String::new(),
            (true, true, "") => format!("if self.{ident}.is_none() {{ check.field({name:?}, Check::missing); }}"),
            (true, true, _) => {
                format!("check.field({name:?}, |check| match &self.{ident} {{ Some(value) => {value}, None => check.missing() }});")
            }
            (true, false, _) => format!("if let Some(value) = &self.{ident} {{ check.field({name:?}, |check| {value}); }}"),
            (false, true, "") => format!("if {} {{ check.field({name:?}, Check::missing); }}", zero(field, &format!("self.{ident}"))),
            (false, true, _) => {
                let zero = zero(field, &format!("self.{ident}"));
                format!(
                    "check.field({name:?}, |check| {{ let value = &self.{ident}; if {zero} {{ check.missing() }} else {{ {value} }} }});"
                )
            }
            (false, false, _) => format!("check.field({name:?}, |check| {{ let value = &self.{ident}; {value} }});"),
        })
    }

    /// The statement that checks the field of a oneof that is set.
    fn oneof(&mut self, oneof: &OneofDescriptor) -> String {
        let name = oneof.name();
        let variants = self.names.oneof(oneof);
        let mut arms = String::new();
        for field in oneof.fields() {
            let rules = self.options.rules(&field);
            let checked = self.value(&field, &rules, false).and_then(|value| {
                if rules.required {
                    Err("required is not for a field of a oneof; the oneof itself may have it".to_owned())
                } else {
                    Ok(value)
                }
            });
            let variant = format!("{variants}::{}", field.name().to_upper_camel_case());
            match checked.as_deref() {
                Ok("") => arms += &format!("            Some({variant}(_)) => {{}}\n"),
                Ok(value) => arms += &format!("            Some({variant}(value)) => check.field({:?}, |check| {value}),\n", field.name()),
                Err(fault) => self.faults.push(format!("{}: {fault}", field.full_name())),
            }
        }
        let names: Vec<String> = oneof.fields().map(|field| field.name().to_owned()).collect();
        let none = match self.options.oneof_required(oneof) {
            true => format!("check.field({name:?}, |check| check.missing_one_of({:?}))", names.join(", ")),
            false => "{}".to_owned(),
        };
        format!("        match &self.{} {{\n{arms}            None => {none},\n        }}\n", identifier(name))
    }

    /// The expression that checks what `value` refers to; empty when anything will do.
    fn value(&mut self, field: &FieldDescriptor, rules: &Rules, in_list: bool) -> Result<String, String> {
        if rules.resource.is_some() && !matches!(field.kind(), Kind::String) {
            return Err("only a string holds the name of a resource".to_owned());
        }
        match field.kind() {
            // A name that is not checked would lead into the programs of others.
            Kind::String if rules.resource.is_none() && told_to_be_a_name(field) => {
                Err("its comment says that it is a name in a program, and it has no resource option".to_owned())
            }
            Kind::String => self.text(rules, in_list),
            Kind::Bytes => {
                let bytes = rules.of("bytes")?;
                let max = length(bytes, "max_len").ok_or("bytes in a request need bytes.max_len")?;
                Ok(format!("check.bytes(value, {}, {max})", length(bytes, "min_len").unwrap_or(0)))
            }
            Kind::Int32 => integer(rules.of("int32")?, (i32::MIN.into(), i32::MAX.into())),
            Kind::Int64 => integer(rules.of("int64")?, (i64::MIN.into(), i64::MAX.into())),
            Kind::Enum(descriptor) => Ok(enumeration(&descriptor, rules.of("enum")?)),
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Duration" => duration(rules.of("duration")?),
                "google.protobuf.Timestamp" | "google.protobuf.FieldMask" => rules.none().map(|()| "value.check(check)".to_owned()),
                name if name.starts_with("google.") => Err(format!("a request cannot hold {name}, which has no bounds")),
                _ => rules.none().map(|()| "value.check(check)".to_owned()),
            },
            _ => rules.none().map(|()| String::new()),
        }
    }

    fn text(&mut self, rules: &Rules, in_list: bool) -> Result<String, String> {
        let text = rules.of("string")?;
        let (min, max) = (length(text, "min_len"), length(text, "max_len"));
        let pattern = text.and_then(|text| get(text, "pattern")).and_then(|pattern| pattern.as_str().map(str::to_owned));
        if pattern.is_some() && rules.resource.is_some() {
            return Err("a resource name has its own pattern".to_owned());
        }
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            return Err("string.min_len is greater than string.max_len".to_owned());
        }
        let bounded = match &pattern {
            Some(pattern) => check_pattern(pattern)?,
            None => rules.resource.is_some(),
        };
        if max.is_none() && !bounded {
            return Err("a string in a request needs string.max_len, a resource or a pattern that ends (^…{1,64}$)".to_owned());
        }
        let mut fields: Vec<String> = Vec::new();
        fields.extend(min.map(|min| format!("min: {min}")));
        fields.extend(max.map(|max| format!("max: {max}")));
        if let Some(pattern) = pattern {
            fields.push(format!("pattern: Some(&PATTERN_{})", position(&mut self.patterns, pattern)));
        }
        if let Some(resource) = &rules.resource {
            name_parts(resource)?;
            fields.push(format!("resource: Some(&RESOURCE_{})", position(&mut self.resources, resource.clone())));
        }
        let method = if in_list { "text_item" } else { "text" };
        Ok(format!("check.{method}(value, &::proto::check::Text {{ {}, ..::proto::check::Text::ANY }})", fields.join(", ")))
    }

    fn statics(&self) -> String {
        let mut code = String::new();
        for (index, pattern) in self.patterns.iter().enumerate() {
            code += &format!("static PATTERN_{index}: ::proto::check::Pattern = ::proto::check::Pattern::new({pattern:?});\n");
        }
        for (index, resource) in self.resources.iter().enumerate() {
            let forms = name_parts(resource).expect("it was read when it was met");
            code += &format!(
                "static RESOURCE_{index}: ::proto::check::Resource = ::proto::check::Resource {{ source: {resource:?}, forms: &[{forms}] }};\n"
            );
        }
        code
    }
}

fn integer(rules: Option<&DynamicMessage>, whole: (i128, i128)) -> Result<String, String> {
    let (min, max) = bounds(rules, whole, |value| value.as_i64().or(value.as_i32().map(i64::from)).map(i128::from))?;
    if (min, max) == whole {
        return Ok(String::new());
    }
    Ok(format!("check.integer(*value, {min}, {max})"))
}

fn enumeration(descriptor: &EnumDescriptor, rules: Option<&DynamicMessage>) -> String {
    let Some(rules) = rules else { return String::new() };
    let defined: Vec<i32> = descriptor.values().map(|value| value.number()).collect();
    let defined = match get(rules, "defined_only").and_then(|value| value.as_bool()) {
        Some(true) => format!("Some(&{defined:?})"),
        _ => "None".to_owned(),
    };
    let not_in = get(rules, "not_in");
    let not_in: Vec<i32> = not_in.iter().filter_map(Value::as_list).flatten().filter_map(Value::as_i32).collect();
    format!("check.enumeration(*value, {defined}, &{not_in:?})")
}

fn duration(rules: Option<&DynamicMessage>) -> Result<String, String> {
    let nanos = |value: &Value| {
        let part = |name| value.as_message().and_then(|duration| get(duration, name));
        let seconds = part("seconds").and_then(|value| value.as_i64()).unwrap_or(0);
        let nanos = part("nanos").and_then(|value| value.as_i32()).unwrap_or(0);
        Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
    };
    let (min, max) = bounds(rules, (i128::MIN, i128::MAX), nanos)?;
    Ok(format!("check.duration(value, {min}, {max})"))
}

/// Whether a value is what an unset field has.
fn zero(field: &FieldDescriptor, value: &str) -> String {
    match field.kind() {
        Kind::String | Kind::Bytes => format!("{value}.is_empty()"),
        Kind::Bool => format!("!{value}"),
        Kind::Float | Kind::Double => format!("{value} == 0.0"),
        _ => format!("{value} == 0"),
    }
}

/// Whether the pattern bounds the length of what it matches. What RE2 and Rust read differently is refused.
fn check_pattern(pattern: &str) -> Result<bool, String> {
    if ["\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "\\b", "\\B"].iter().any(|class| pattern.contains(class)) {
        return Err("string.pattern: \\d and its kin are ASCII in RE2 and Unicode here; write the characters out".to_owned());
    }
    let parsed = regex_syntax::parse(pattern).map_err(|fault| format!("string.pattern: {fault}"))?;
    let properties = parsed.properties();
    let whole = properties.look_set_prefix().contains(Look::Start) && properties.look_set_suffix().contains(Look::End);
    Ok(whole && properties.maximum_len().is_some())
}

/// The forms of a resource name, as the items of a slice.
fn name_parts(resource: &str) -> Result<String, String> {
    let mut forms = Vec::new();
    for form in resource.split('|') {
        let mut parts = Vec::new();
        for segment in form.split('/') {
            let variable = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let word = variable.unwrap_or(segment);
            if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(format!("resource: `{segment}` is neither a word nor a {{variable}}"));
            }
            parts.push(match variable {
                Some("program") => "::proto::check::NamePart::Program".to_owned(),
                Some(_) => "::proto::check::NamePart::Id".to_owned(),
                None => format!("::proto::check::NamePart::Literal({segment:?})"),
            });
        }
        forms.push(format!("&[{}]", parts.join(", ")));
    }
    Ok(forms.join(", "))
}

/// The index of an item in a list that has each item once.
fn position(list: &mut Vec<String>, item: String) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}
