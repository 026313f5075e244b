//! Settings: where they come from, and that none is misspelt in silence.

use std::path::PathBuf;

use rpc::config::ConfigError;
use rpc::{Config, Flags};
use tempfile::TempDir;

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(folder: &TempDir, text: &str) -> Flags {
    let path: PathBuf = folder.path().join("regulars.toml");
    std::fs::write(&path, text).unwrap();
    Flags { config: Some(path), ..Flags::default() }
}

fn refused(flags: &Flags, variables: &[(&str, &str)]) -> String {
    Config::from_sources(flags, environment(variables)).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_what_the_issue_says() {
    let config = Config::from_sources(&Flags::default(), []).unwrap();
    assert_eq!(config.server.address.to_string(), "127.0.0.1:7700");
    assert_eq!(config.database.url.reveal(), "sqlite:./data");
    assert_eq!(config.telemetry, telemetry::TelemetryConfig::default(), "the commented file and the code agree");
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let folder = TempDir::new().unwrap();
    let mut flags = file(
        &folder,
        "[server]\naddress = \"127.0.0.1:1\"\nconcurrent_requests_max = 7\nmessage_bytes_max = 8\n[peers.urls]\npoints = \"http://a:1\"",
    );
    flags.address = Some("127.0.0.1:3".parse().unwrap());
    let variables = environment(&[
        ("REGULARS_SERVER__ADDRESS", "127.0.0.1:2"),
        ("REGULARS_SERVER__CONCURRENT_REQUESTS_MAX", "9"),
        ("REGULARS_SERVER__CORS_ORIGINS", "[\"https://a.example\"]"),
        ("REGULARS_PEERS__URLS__TIERS", "http://b:1"),
    ]);
    let config = Config::from_sources(&flags, variables).unwrap();
    assert_eq!(config.server.address.port(), 3);
    assert_eq!(config.server.concurrent_requests_max, 9);
    assert_eq!(config.server.message_bytes_max, 8);
    assert_eq!(config.server.cors_origins, ["https://a.example"]);
    assert_eq!(config.peers.urls.keys().collect::<Vec<_>>(), ["points", "tiers"]);
}

#[test]
fn the_data_folder_holds_databases_and_key() {
    let flags = Flags { data: Some("/srv/shop".into()), ..Flags::default() };
    let config = Config::from_sources(&flags, []).unwrap();
    assert_eq!(config.database.url.reveal(), "sqlite:/srv/shop");
    let flags = Flags { database: Some("postgres://db/x".to_owned()), ..flags };
    let config = Config::from_sources(&flags, []).unwrap();
    assert_eq!(config.database.url.reveal(), "postgres://db/x");
    assert_eq!(config.keys.data_dir, Some("/srv/shop".into()));
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let text = refused(&file(&folder, "[server]\nadress = \"127.0.0.1:1\""), &[]);
    assert!(text.contains("adress") && text.contains("regulars.toml"), "{text}");
    let text = refused(&file(&folder, "[sever]\nx = 1"), &[]);
    assert!(text.contains("sever"), "{text}");
    let text = refused(&file(&folder, "[telemetry]\nlog = \"x\""), &[]);
    assert!(text.contains("`log`"), "{text}");
    for name in ["REGULARS_SERVER__ADRESS", "REGULARS_SEVER__ADDRESS", "REGULARS_DATABASE_URL", "REGULARS_"] {
        let text = refused(&Flags::default(), &[(name, "x")]);
        let shown = name.trim_start_matches("REGULARS_").to_lowercase().replace("__", "_");
        let named = shown.split('_').any(|part| !part.is_empty() && text.to_lowercase().contains(part));
        assert!(named || text.contains("REGULARS_"), "{name}: {text}");
        assert!(text.contains("environment") || text.contains("REGULARS_"), "{name}: {text}");
    }
}

#[test]
fn a_variable_without_a_section_or_a_key_is_told_the_form() {
    for name in ["REGULARS_DATABASE", "REGULARS_DATABASE_URL", "REGULARS_DATABASE__", "REGULARS___URL", "REGULARS_"] {
        let text = refused(&Flags::default(), &[(name, "x")]);
        assert!(text.contains(&format!("{name} ")) && text.contains("REGULARS_<SECTION>__<KEY>"), "{name}: {text}");
        assert!(!text.contains("struct"), "{name}: {text}");
    }
}

#[test]
fn what_kubernetes_and_tests_put_into_the_environment_is_no_setting() {
    let variables = environment(&[
        ("REGULARS_POINTS_SERVICE_HOST", "10.0.0.1"),
        ("REGULARS_POINTS_SERVICE_PORT_GRPC", "7700"),
        ("REGULARS_POINTS_PORT", "tcp://10.0.0.1:7700"),
        ("REGULARS_POINTS_PORT_7700_TCP_ADDR", "10.0.0.1"),
        ("REGULARS_TEST_POSTGRES", "postgres://x"),
        ("REGULARS_KEY", "rk_x"),
        ("PATH", "/bin"),
    ]);
    Config::from_sources(&Flags::default(), variables).unwrap();
}

#[test]
fn values_that_cannot_be_are_refused_by_key() {
    for (variable, value, shown) in [
        ("REGULARS_SERVER__CONCURRENT_REQUESTS_MAX", "0", "server.concurrent_requests_max"),
        ("REGULARS_SERVER__WAITING_CHANGES_MAX", "0", "server.waiting_changes_max"),
        ("REGULARS_SERVER__CONCURRENT_REQUESTS_MAX", "many", "REGULARS_SERVER__CONCURRENT_REQUESTS_MAX"),
        ("REGULARS_SERVER__MESSAGE_BYTES_MAX", "99999999", "server.message_bytes_max"),
        ("REGULARS_SERVER__DEADLINE_MS_DEFAULT", "70000", "server.deadline_ms_default"),
        ("REGULARS_SERVER__TLS__CERT", "a.pem", "server.tls"),
        ("REGULARS_SERVER__ADDRESS", "nowhere", "REGULARS_SERVER__ADDRESS"),
    ] {
        let text = refused(&Flags::default(), &[(variable, value)]);
        assert!(text.contains(shown), "{variable}={value}: {text}");
    }
    let flags = Flags { config: Some("/no/such/file.toml".into()), ..Flags::default() };
    assert!(matches!(Config::from_sources(&flags, []), Err(ConfigError::NoFile(_))));
}

#[test]
fn secrets_are_not_printed() {
    let variables = environment(&[
        ("REGULARS_DATABASE__URL", "postgres://user:hunter2@db/x"),
        ("REGULARS_KEYS__MASTER_KEY", "1:hunter2"),
        ("REGULARS_PEERS__CREDENTIAL", "rk_a_hunter2"),
    ]);
    let config = Config::from_sources(&Flags::default(), variables).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
