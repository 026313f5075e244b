use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

const PREFIX: &str = "REGULARS_";

/// What the command line reads as a client, not settings of a server.
const CLIENT_VARIABLES: [&str; 2] = ["REGULARS_KEY", "REGULARS_SERVER"];

/// Variables `REGULARS_<SECTION>__<KEY>` as settings.
pub(super) struct Environment(Vec<(String, String)>);

impl Environment {
    /// Keeps the variables that are settings, or that look like misspelt ones.
    pub(super) fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Environment {
        Environment(variables.into_iter().filter(|(name, _)| is_setting(name)).collect())
    }
}

/// Kubernetes puts `<SERVICE>_SERVICE_HOST`, `<SERVICE>_PORT_7700_TCP` and their like into every container; with a service
/// called `regulars-…` they begin with our prefix. Our tests have variables of their own.
fn is_setting(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let of_kubernetes = !rest.contains("__") && (rest.contains("_SERVICE_") || rest.starts_with("SERVICE_") || rest.contains("PORT"));
    !of_kubernetes && !rest.starts_with("TEST_") && !CLIENT_VARIABLES.contains(&name)
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("the environment").interpolater(|_, keys| format!("{PREFIX}{}", keys.join("__").to_ascii_uppercase()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut settings = Dict::new();
        for (name, text) in &self.0 {
            let malformed = || Error::from(format!("{name} names no setting: variables have the form REGULARS_<SECTION>__<KEY>"));
            let segments: Vec<&str> = name[PREFIX.len()..].split("__").collect();
            if segments.len() < 2 || segments.iter().any(|segment| segment.is_empty() || segment.starts_with('_')) {
                return Err(malformed());
            }
            let path = name[PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
            // A text that is not a number, list or truth value is a text.
            let value: Value = text.parse().expect("every text parses as a value");
            let nested = figment::util::nest(&path, value).into_dict();
            merge(&mut settings, nested.ok_or_else(malformed)?);
        }
        Ok(Profile::Default.collect(settings))
    }
}

fn merge(into: &mut Dict, from: Dict) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Dict(_, inner)), Value::Dict(_, more)) => merge(inner, more),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
