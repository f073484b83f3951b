//! What the command line and the environment give, and the layers one over the other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::file::{self, FileSettings};
use super::settings::{SETTINGS, Scope, Setting};
use crate::exit::Failure;

/// The heading over settings that every client command has.
const CLIENT_HEADING: &str = "Server";

/// A setting's text, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// Where a setting was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Flag,
    Environment,
    File,
}

type GivenByName = BTreeMap<&'static str, Given>;

/// What the command line and the environment say about `hulse serve`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServeFlags(GivenByName);

/// What the command line and the environment say about the server to talk to.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientFlags(GivenByName);

/// All layers of the settings of one scope: the file lowest, flags highest.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    given: GivenByName,
}

impl ServeFlags {
    /// The layers, with the file at `config` lowest.
    pub(crate) fn over_file(self, config: Option<&PathBuf>) -> Result<Layers, Failure> {
        Layers::over(self.0, config)
    }
}

impl ClientFlags {
    /// The layers, with the file at `config` lowest.
    pub(crate) fn over_file(self, config: Option<&PathBuf>) -> Result<Layers, Failure> {
        Layers::over(self.0, config)
    }
}

impl Layers {
    fn over(given: GivenByName, config: Option<&PathBuf>) -> Result<Self, Failure> {
        let file = config
            .map(|path| file::read(path))
            .transpose()?
            .unwrap_or_default();
        Ok(Self::merge(given, file))
    }

    fn merge(mut given: GivenByName, file: FileSettings) -> Self {
        for (name, text) in file {
            given.entry(name).or_insert(Given {
                text,
                place: Place::File,
            });
        }
        Self { given }
    }

    /// The setting `name`, read by `read`; `None` when no layer gives it.
    ///
    /// # Errors
    /// When `read` refuses the text: a sentence that says where it was found.
    ///
    /// # Panics
    /// When there is no setting of this name.
    pub(crate) fn get<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let setting = SETTINGS.iter().find(|setting| setting.name == name);
        let setting = setting.expect("every setting stands in the table");
        let Some(given) = self.given.get(name) else {
            return Ok(None);
        };
        let text = &given.text;
        read(text).map(Some).map_err(|reason| {
            let place = match given.place {
                Place::Flag => format!("--{}", setting.flag),
                Place::Environment => format!("the variable {}", setting.env),
                Place::File => format!("the configuration file's `{name}`"),
            };
            Failure::usage(format_args!("{place} cannot be `{text}`: {reason}"))
        })
    }

    /// Whether the switch `name` is on.
    ///
    /// # Errors
    /// When it is neither on nor off.
    pub(crate) fn is_on(&self, name: &'static str) -> Result<bool, Failure> {
        self.is(name, false)
    }

    /// Whether a switch is on that is `default` when nothing is said of it.
    ///
    /// # Errors
    /// When it is neither on nor off.
    pub(crate) fn is(&self, name: &'static str, default: bool) -> Result<bool, Failure> {
        let read = |text: &str| match text {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => Err("it is on or off".to_owned()),
        };
        Ok(self.get(name, read)?.unwrap_or(default))
    }
}

fn argument(setting: &'static Setting) -> Arg {
    let Setting {
        about,
        unit,
        default,
        range,
        ..
    } = setting;
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" in {unit},")
    };
    let argument = Arg::new(setting.name)
        .long(setting.flag)
        .env(setting.env)
        .hide_env_values(true)
        .help(format!("{about} ({unit} {range}) [default: {default}]").replace("( ", "("))
        .value_parser(value_parser!(String));
    let argument = match setting.scope {
        Scope::Serve => argument,
        Scope::Client => argument.global(true).help_heading(CLIENT_HEADING),
    };
    if setting.is_switch() {
        argument
            .value_name("on|off")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("on")
    } else {
        argument.value_name(setting.value)
    }
}

fn augment(command: Command, scope: Scope) -> Command {
    SETTINGS
        .iter()
        .filter(|setting| setting.scope == scope)
        .fold(command, |command, setting| command.arg(argument(setting)))
}

fn collect(matches: &ArgMatches, scope: Scope) -> GivenByName {
    let mut given = GivenByName::new();
    for setting in SETTINGS.iter().filter(|setting| setting.scope == scope) {
        let Some(text) = matches.get_one::<String>(setting.name) else {
            continue;
        };
        let place = match matches.value_source(setting.name) {
            Some(ValueSource::EnvVariable) => Place::Environment,
            _ => Place::Flag,
        };
        // A variable that is set to nothing is one that a script means to be unset.
        if place == Place::Environment && text.is_empty() {
            continue;
        }
        given.insert(
            setting.name,
            Given {
                text: text.clone(),
                place,
            },
        );
    }
    given
}

macro_rules! flags_of_scope {
    ($flags:ident, $scope:expr) => {
        impl FromArgMatches for $flags {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(collect(matches, $scope)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0.extend(collect(matches, $scope));
                Ok(())
            }
        }

        impl Args for $flags {
            fn augment_args(command: Command) -> Command {
                augment(command, $scope)
            }

            fn augment_args_for_update(command: Command) -> Command {
                augment(command, $scope)
            }
        }
    };
}

flags_of_scope!(ServeFlags, Scope::Serve);
flags_of_scope!(ClientFlags, Scope::Client);

#[cfg(test)]
impl Layers {
    /// Layers from (name, text) pairs of flags and of a file.
    pub(crate) fn of(flags: &[(&'static str, &str)], file: &[(&'static str, &str)]) -> Self {
        let flag = |text: &str| Given {
            text: text.to_owned(),
            place: Place::Flag,
        };
        Self::merge(
            flags
                .iter()
                .map(|(name, text)| (*name, flag(text)))
                .collect(),
            file.iter()
                .map(|(name, text)| (*name, (*text).to_owned()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    #[test]
    fn flags_lie_over_the_file() {
        let layers = Layers::of(
            &[("region", "flag")],
            &[("region", "file"), ("broker", "file")],
        );
        assert_eq!(layers.get("region", text).unwrap().as_deref(), Some("flag"));
        assert_eq!(layers.get("broker", text).unwrap().as_deref(), Some("file"));
        assert_eq!(layers.get("data", text).unwrap(), None);
    }

    #[test]
    fn a_refusal_names_the_place() {
        let refuse = |_: &str| Err::<(), _>("no".to_owned());
        let layers = Layers::of(&[("spin_us", "x")], &[("single_port", "y")]);
        let said = |name| layers.get(name, refuse).unwrap_err().to_string();
        assert_eq!(said("spin_us"), "--spin-us cannot be `x`: no");
        assert_eq!(
            said("single_port"),
            "the configuration file's `single_port` cannot be `y`: no"
        );
    }

    #[test]
    fn switches_are_on_or_off() {
        for (text, on) in [
            ("on", true),
            ("true", true),
            ("off", false),
            ("false", false),
        ] {
            assert_eq!(
                Layers::of(&[("log_json", text)], &[])
                    .is_on("log_json")
                    .unwrap(),
                on
            );
        }
        assert!(!Layers::of(&[], &[]).is_on("log_json").unwrap());
        assert!(
            Layers::of(&[("log_json", "maybe")], &[])
                .is_on("log_json")
                .is_err()
        );
    }
}
