use persistence::{Database, DatabaseOptions, Error, Migration};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

/// A database engine with nothing in it yet, for one test. What is in it goes when this is dropped.
pub struct TestEngine {
    /// How to reach it.
    pub options: DatabaseOptions,
    place: Place,
}

enum Place {
    /// A folder in which each service has its file.
    Sqlite { _folder: TempDir },
    /// A database on the server for tests, in which each service has its schema.
    Postgres { server: String, database: String },
}

/// An empty folder for SQLite.
pub async fn sqlite() -> TestEngine {
    let folder = TempDir::with_prefix("regulars-").expect("the machine has room for a temporary folder");
    let options = DatabaseOptions::new(format!("sqlite:{}", folder.path().display()));
    TestEngine { options, place: Place::Sqlite { _folder: folder } }
}

/// A new PostgreSQL database on the server that `REGULARS_TEST_POSTGRES` names.
#[expect(clippy::disallowed_methods, reason = "processes that test at once must not choose the same name")]
pub async fn postgres() -> TestEngine {
    let server = std::env::var("REGULARS_TEST_POSTGRES").expect(
        "REGULARS_TEST_POSTGRES names no PostgreSQL server, for example postgres://postgres@127.0.0.1/postgres; \
         `cargo xtask test` starts one and sets it",
    );
    let database = format!("test_{}", Uuid::new_v4().simple());
    // The template nobody connects to: copying another fails while somebody does.
    run(&server, format!("CREATE DATABASE {database} TEMPLATE template0")).await.expect("the test server lets us create databases");
    let (address, query) = server.split_once('?').map_or((&*server, String::new()), |(url, query)| (url, format!("?{query}")));
    let address = address.split_once("://").and_then(|(scheme, rest)| Some(format!("{scheme}://{}", rest.split('/').next()?)));
    let address = address.expect("REGULARS_TEST_POSTGRES begins with postgres://");
    let options = DatabaseOptions::new(format!("{address}/{database}{query}"));
    TestEngine { options, place: Place::Postgres { server, database } }
}

impl TestEngine {
    /// Opens a service's database here, as the service would.
    pub async fn open(&self, name: &str, migrations: &[Migration]) -> Database {
        self.try_open(name, migrations).await.expect("a fresh database opens")
    }

    /// The same for tests in which it may fail.
    pub async fn try_open(&self, name: &str, migrations: &[Migration]) -> Result<Database, Error> {
        Database::open(&self.options, name, migrations).await
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        let Place::Postgres { server, database } = &self.place else { return };
        let (server, statement) = (server.clone(), format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"));
        // A thread of its own, since a runtime may be running on this one. A database that is left behind harms nobody.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run(&server, statement))
        });
        match dropping.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("a test database was left behind: {error}"),
            Err(_) => eprintln!("a test database was left behind"),
        }
    }
}

async fn run(server: &str, statement: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(server).await?;
    connection.execute(AssertSqlSafe(statement)).await?;
    connection.close().await
}
