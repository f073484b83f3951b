//! `hulse serve`: runs a broker until it is told to stop.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use hulse_server::{ACKNOWLEDGEMENT_MEANS, Ready, ServeConfig, ServeError};
use tracing_subscriber::EnvFilter;

use crate::cli::CommonFlags;
use crate::config::{ServeFlags, ServeSettings};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::human_bytes;

const AFTER_HELP: &str = "\
Once it serves, it writes one line to stdout:
  ready listen=H:P,H:P admin=H:P|off broker=NAME region=NAME cores=N ack=disk
Everything else goes to stderr. SIGTERM stops it cleanly; what is acknowledged survives kill -9 too.

Examples:
  hulse serve
  hulse serve --data /var/lib/hulse --cores 2 --log-json
  hulse serve --listen 0.0.0.0:6650 --advertise broker1.example --allow-unauthenticated
  hulse serve --config /etc/hulse.toml     with lines such as: data = \"/var/lib/hulse\"";

/// Flags of `hulse serve`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: ServeFlags,
}

/// Runs the broker.
///
/// # Errors
/// When it cannot start or had to stop.
pub(crate) fn run(args: ServeArgs, common: &CommonFlags) -> Outcome {
    let settings = ServeSettings::resolve(args.settings, common.config())?;
    start_log(&settings)?;
    eprint!("{}", banner(&settings.broker));
    hulse_server::serve(&settings.broker, announce).map_err(|error| Failure {
        exit: exit_of(&error),
        sentence: error.to_string(),
    })?;
    Ok(Exit::Done)
}

fn exit_of(error: &ServeError) -> Exit {
    match error {
        ServeError::Unauthenticated { .. }
        | ServeError::AdvertiseNeeded { .. }
        | ServeError::PortRange { .. } => Exit::Usage,
        _ => Exit::Failed,
    }
}

fn start_log(settings: &ServeSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|error| {
        Failure::usage(format_args!(
            "the log filter `{}` is none: {error}; try info, or info,hulse_server=debug",
            settings.log
        ))
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    if settings.log_json {
        log.json().init();
    } else {
        log.init();
    }
    Ok(())
}

/// What is said before the broker starts.
fn banner(broker: &ServeConfig) -> String {
    use hulse_model::limits::{MESSAGE_BYTES_MAX, RETENTION_MS_DEFAULT};
    let cores = match broker.cores {
        Some(cores) => cores.to_string(),
        None => "one for each CPU that this process may use".to_owned(),
    };
    let advertised = match &broker.advertise {
        Some((host, Some(port))) => format!(", advertised as {host}:{port}"),
        Some((host, None)) => format!(", advertised as {host}"),
        None => String::new(),
    };
    let admin = match broker.admin {
        Some(admin) => format!("http://{admin} (/metrics /healthz /readyz /status)"),
        None => "off".to_owned(),
    };
    let rows = [
        ("data", broker.data.display().to_string()),
        (
            "listen",
            format!("hulse://{}{advertised}; core i on port + i", broker.listen),
        ),
        ("admin", admin),
        (
            "broker",
            format!("{} in region {}", broker.broker, broker.region),
        ),
        ("cores", cores),
        (
            "limits",
            format!(
                "a message is at most {}; what all have acknowledged is kept {} days",
                human_bytes(MESSAGE_BYTES_MAX as u64),
                RETENTION_MS_DEFAULT / (24 * 60 * 60 * 1000)
            ),
        ),
    ];
    let mut text = format!("hulse {}\n", env!("CARGO_PKG_VERSION"));
    for (name, value) in rows {
        text.push_str(&format!("  {name:<8}{value}\n"));
    }
    if broker.allow_unauthenticated {
        text.push_str("  anybody who reaches the ports may read, write and administer\n");
    }
    text.push_str(ACKNOWLEDGEMENT_MEANS);
    text.push('\n');
    text
}

/// Says that the broker serves: what recovery found on stderr, the ready line on stdout.
fn announce(ready: &Ready) {
    for sentence in &ready.recovery {
        eprintln!("recovery: {sentence}");
    }
    let mut stdout = io::stdout().lock();
    let line = ready_line(ready);
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        tracing::warn!(%error, "the ready line cannot be written to stdout");
    }
}

/// The ready line: a contract.
fn ready_line(ready: &Ready) -> String {
    let listen: Vec<String> = ready.listen.iter().map(ToString::to_string).collect();
    let admin = ready
        .admin
        .map_or_else(|| "off".to_owned(), |admin| admin.to_string());
    format!(
        "ready listen={} admin={admin} broker={} region={} cores={} ack=disk",
        listen.join(","),
        ready.broker,
        ready.region,
        ready.cores
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::Duration;

    fn ready() -> Ready {
        Ready {
            listen: vec![
                "127.0.0.1:6650".parse().unwrap(),
                "127.0.0.1:6651".parse().unwrap(),
            ],
            admin: Some("127.0.0.1:8080".parse().unwrap()),
            broker: "b1".to_owned(),
            region: "local".to_owned(),
            cores: 2,
            recovery: Vec::new(),
        }
    }

    #[test]
    fn the_ready_line_is_the_contract() {
        assert_eq!(
            ready_line(&ready()),
            "ready listen=127.0.0.1:6650,127.0.0.1:6651 admin=127.0.0.1:8080 broker=b1 \
             region=local cores=2 ack=disk"
        );
        let quiet = Ready {
            admin: None,
            ..ready()
        };
        assert!(ready_line(&quiet).contains(" admin=off "));
    }

    #[test]
    fn the_banner_says_where_and_what_an_acknowledgement_means() {
        let text = banner(&ServeConfig {
            data: PathBuf::from("/var/lib/hulse"),
            listen: "0.0.0.0:6650".parse().unwrap(),
            advertise: Some(("b1.example".to_owned(), None)),
            admin: None,
            cores: Some(3),
            region: "eu".to_owned(),
            broker: "b1".to_owned(),
            allow_unauthenticated: true,
            spin: Duration::ZERO,
            balance: None,
        });
        for part in [
            concat!("hulse ", env!("CARGO_PKG_VERSION")),
            "/var/lib/hulse",
            "hulse://0.0.0.0:6650, advertised as b1.example",
            "admin   off",
            "b1 in region eu",
            "5 MiB",
            "7 days",
            "anybody who reaches the ports",
            ACKNOWLEDGEMENT_MEANS,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_durability_sentence_is_the_promised_one() {
        assert_eq!(
            ACKNOWLEDGEMENT_MEANS,
            "An acknowledgement means: at `disk` (the default), synced on every member of the \
             in-sync set; at `memory`, out of the process (safe from `kill -9`, not from power \
             loss) on every member of it."
        );
    }
}
