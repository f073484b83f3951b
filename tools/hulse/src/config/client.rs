//! The settings of commands that talk to a server.

use std::path::PathBuf;
use std::time::Duration;

use super::layers::{ClientFlags, Layers};
use super::value;
use crate::exit::Failure;

/// Where a server is looked for when nothing says otherwise.
const SERVER_DEFAULT: &str = "hulse://127.0.0.1:6650";
/// How long a single request may take when nothing says otherwise.
const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// How long a stream's first contact may take when nothing says otherwise.
const CONTACT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// How long a stream may stand still when nothing says otherwise.
const STREAM_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// The settings of commands that talk to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    /// The servers, as they were written.
    pub(crate) server: String,
    /// The time-out, if one was asked for.
    timeout: Option<Duration>,
}

/// How patient a command is with its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// How long a server is tried that cannot be reached at first; zero for one try.
    pub(crate) contact: Duration,
    /// How long a request may take, or a stream stand still while its connection is mended.
    pub(crate) operation: Duration,
}

impl ClientSettings {
    /// The settings that flags, environment and file give.
    ///
    /// # Errors
    /// When one is not what it may be, or its time has not come.
    pub(crate) fn resolve(flags: ClientFlags, config: Option<&PathBuf>) -> Result<Self, Failure> {
        Self::from_layers(&flags.over_file(config)?)
    }

    fn from_layers(layers: &Layers) -> Result<Self, Failure> {
        if layers.get("token_file", any)?.is_some() {
            return Err(Failure::not_available_yet(
                "tokens (--token-file); brokers know no authentication so far",
            ));
        }
        if layers.get("tls_ca", any)?.is_some() {
            return Err(Failure::not_available_yet(
                "TLS (--tls-ca); connections are plain so far, so keep them on networks you trust",
            ));
        }
        let timeout = layers.get("timeout", |text| value::seconds(text, 0.1, 86_400.0))?;
        Ok(Self {
            server: layers
                .get("server", any)?
                .unwrap_or_else(|| SERVER_DEFAULT.to_owned()),
            timeout,
        })
    }

    /// For a single request: who asks wants to know at once that nobody is there.
    pub(crate) fn request_patience(&self) -> Patience {
        Patience {
            contact: self.timeout.unwrap_or_default(),
            operation: self.timeout.unwrap_or(REQUEST_TIMEOUT_DEFAULT),
        }
    }

    /// For a stream of messages: it outlives the restart of a broker.
    pub(crate) fn stream_patience(&self) -> Patience {
        Patience {
            contact: self.timeout.unwrap_or(CONTACT_TIMEOUT_DEFAULT),
            operation: self.timeout.unwrap_or(STREAM_TIMEOUT_DEFAULT),
        }
    }
}

/// Any text: the client library reads it.
#[expect(clippy::unnecessary_wraps, reason = "a reader of settings may refuse")]
fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn patience(contact: Duration, operation: Duration) -> Patience {
        Patience { contact, operation }
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let settings = ClientSettings::from_layers(&Layers::of(&[], &[])).unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(settings.server, "hulse://127.0.0.1:6650");
        assert_eq!(
            settings.request_patience(),
            patience(seconds(0), seconds(10))
        );
        assert_eq!(
            settings.stream_patience(),
            patience(seconds(10), seconds(60))
        );
    }

    #[test]
    fn a_time_out_that_is_asked_for_holds_for_all() {
        let layers = Layers::of(
            &[("timeout", "2.5")],
            &[("timeout", "9"), ("server", "a:1")],
        );
        let settings = ClientSettings::from_layers(&layers).unwrap();
        let asked = Duration::from_millis(2500);
        assert_eq!(settings.server, "a:1");
        assert_eq!(settings.request_patience(), patience(asked, asked));
        assert_eq!(settings.stream_patience(), patience(asked, asked));
    }

    #[test]
    fn security_is_not_pretended() {
        for name in ["token_file", "tls_ca"] {
            let failure =
                ClientSettings::from_layers(&Layers::of(&[(name, "f")], &[])).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.to_string().starts_with("not available yet: "));
        }
    }
}
