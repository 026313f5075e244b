//! `cargo xtask foreign`: clients that share no code with us, against a server as a newcomer starts it.

use std::fs;

use anyhow::Result;

use crate::server::{Recipe, Server, free_port, fresh_directory};
use crate::shell::{cargo, command, root, run as run_command, target};
use crate::tools;

/// Scripts that read `REGULARS_SERVER` and `REGULARS_KEY` from the environment.
const CLIENTS: [&str; 2] = ["tests/foreign/client.py", "examples/python_client.py"];

/// How the server prints the secret of the first administrator.
const KEY: &str = "administrator key: ";

pub(crate) fn run() -> Result<()> {
    let requirements = fs::read_to_string(root().join("tests/foreign/requirements.txt"))?;
    let python = tools::python("foreign", &requirements)?.join("python");
    // With the features of the whole workspace, so that what the tests have built is not built again.
    run_command(&mut cargo(["build", "--workspace", "--bin", "regulars"]))?;

    let address = format!("127.0.0.1:{}", free_port()?);
    let directory = fresh_directory("foreign");
    let program = target("debug/regulars").display().to_string();
    let data = directory.join("data").display().to_string();
    let recipe = Recipe {
        name: "regulars",
        user: None,
        directory,
        command: vec![program, "serve".into(), "--address".into(), address.clone(), "--data".into(), data],
        environment: vec![],
    };
    let (_server, key) = Server::start(recipe, |line| Some(line.split_once(KEY)?.1.trim().to_owned()))?;
    for client in CLIENTS {
        run_command(command(&python, [client]).env("REGULARS_SERVER", format!("http://{address}")).env("REGULARS_KEY", &key))?;
    }
    Ok(())
}
