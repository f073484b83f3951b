//! Installs what a proof of the system group needs and the machine lacks.

use crate::Failure;
use crate::command::{output, program, run};

/// Installs packages by `apt-get`, and says so.
///
/// # Errors
/// When this is not a Debian or Ubuntu, the user is not root, or the installation fails. `why` says
/// what the packages are for.
pub fn install(packages: &[&str], why: &str) -> Result<(), Failure> {
    let names = packages.join(" ");
    if !crate::command::works("apt-get") {
        return Err(Failure(format!(
            "{why} needs {names}, which this machine lacks, and it has no apt-get to install it with."
        )));
    }
    if output(program("id").arg("-u"))?.trim() != "0" {
        return Err(Failure(format!(
            "{why} needs {names}; run `apt-get install {names}` as root, then run this again."
        )));
    }
    println!("installing Debian packages for {why}: {names}");
    let apt = || {
        let mut apt = program("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        apt
    };
    run(apt().arg("update"))?;
    run(apt()
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages))
}
