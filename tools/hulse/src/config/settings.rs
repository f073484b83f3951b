//! The table of settings.

/// Which commands a setting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `hulse serve`.
    Serve,
    /// Every command that talks to a server.
    Client,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Its name in the configuration file.
    pub(crate) name: &'static str,
    /// Its flag, without the dashes.
    pub(crate) flag: &'static str,
    /// Its name in the environment.
    pub(crate) env: &'static str,
    /// What stands for its value in help texts; empty for a switch.
    pub(crate) value: &'static str,
    /// Its unit; empty when it has none.
    pub(crate) unit: &'static str,
    /// The default, for people.
    pub(crate) default: &'static str,
    /// What it may be, for people.
    pub(crate) range: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// Which commands it is for.
    pub(crate) scope: Scope,
}

impl Setting {
    /// Whether it is on or off and needs no value on the command line.
    pub(crate) const fn is_switch(&self) -> bool {
        self.value.is_empty()
    }
}

/// Every setting there is, in the order in which help texts list them.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "data",
        flag: "data",
        env: "HULSE_DATA",
        value: "DIR",
        unit: "",
        default: "./hulse-data",
        range: "a directory",
        about: "Data directory; made when it does not exist, used by one broker at a time",
        scope: Scope::Serve,
    },
    Setting {
        name: "listen",
        flag: "listen",
        env: "HULSE_LISTEN",
        value: "H:P",
        unit: "",
        default: "127.0.0.1:6650",
        range: "IP address and port; loopback unless allow_unauthenticated is on",
        about: "Address of core 0; core i listens on port + i, and port 0 gives every core a free \
                port",
        scope: Scope::Serve,
    },
    Setting {
        name: "advertise",
        flag: "advertise",
        env: "HULSE_ADVERTISE",
        value: "HOST[:PORT]",
        unit: "",
        default: "the address listened on",
        range: "host name or IP address, with core 0's port if it differs",
        about: "What clients are told to dial; needed when the address listened on is a wildcard",
        scope: Scope::Serve,
    },
    Setting {
        name: "admin",
        flag: "admin",
        env: "HULSE_ADMIN",
        value: "H:P|off",
        unit: "",
        default: "127.0.0.1:8080",
        range: "IP address and port, or off; loopback unless allow_unauthenticated is on",
        about: "Address of /metrics, /healthz, /readyz and /status",
        scope: Scope::Serve,
    },
    Setting {
        name: "cores",
        flag: "cores",
        env: "HULSE_CORES",
        value: "N",
        unit: "cores",
        default: "the CPUs that this process may use",
        range: "1 to 1024",
        about: "Number of executors; a restart with another number keeps all data",
        scope: Scope::Serve,
    },
    Setting {
        name: "region",
        flag: "region",
        env: "HULSE_REGION",
        value: "NAME",
        unit: "",
        default: "local",
        range: "1 to 255 letters, digits and -_.",
        about: "Region of this broker",
        scope: Scope::Serve,
    },
    Setting {
        name: "broker",
        flag: "broker",
        env: "HULSE_BROKER",
        value: "NAME",
        unit: "",
        default: "the host's name",
        range: "1 to 255 letters, digits and -_.",
        about: "Name of this broker",
        scope: Scope::Serve,
    },
    Setting {
        name: "metadata",
        flag: "metadata",
        env: "HULSE_METADATA",
        value: "STORE",
        unit: "",
        default: "embedded",
        range: "embedded (hulse://H:P and etcd://H:P,... are not available yet)",
        about: "Where topics and placements are kept; embedded is in the data directory",
        scope: Scope::Serve,
    },
    Setting {
        name: "single_port",
        flag: "single-port",
        env: "HULSE_SINGLE_PORT",
        value: "",
        unit: "",
        default: "off",
        range: "off (on is not available yet)",
        about: "Serve every core through one port, forwarding between cores",
        scope: Scope::Serve,
    },
    Setting {
        name: "allow_unauthenticated",
        flag: "allow-unauthenticated",
        env: "HULSE_ALLOW_UNAUTHENTICATED",
        value: "",
        unit: "",
        default: "off",
        range: "on or off",
        about: "Let anybody who reaches the ports read, write and administer: without it, only \
                loopback addresses are listened on",
        scope: Scope::Serve,
    },
    Setting {
        name: "timing",
        flag: "timing",
        env: "HULSE_TIMING",
        value: "PROFILE",
        unit: "",
        default: "lan",
        range: "lan (wan and ci are not available yet)",
        about: "How soon a silent peer is held for dead",
        scope: Scope::Serve,
    },
    Setting {
        name: "spin_us",
        flag: "spin-us",
        env: "HULSE_SPIN_US",
        value: "US",
        unit: "microseconds",
        default: "0",
        range: "0 to 1000",
        about: "How long an idle core looks for work before it sleeps: lower latency for a busy \
                CPU; only for cores that nothing else uses",
        scope: Scope::Serve,
    },
    Setting {
        name: "balance",
        flag: "balance",
        env: "HULSE_BALANCE",
        value: "SWITCH",
        unit: "",
        default: "on",
        range: "on or off",
        about: "Let hot cores hand groups of partitions over to cool ones",
        scope: Scope::Serve,
    },
    Setting {
        name: "balance_percent",
        flag: "balance-percent",
        env: "HULSE_BALANCE_PERCENT",
        value: "N",
        unit: "percent",
        default: "60",
        range: "1 to 100",
        about: "How busy a core must be, of its processor's time, to give anything away; another must \
                be a third of that less busy",
        scope: Scope::Serve,
    },
    Setting {
        name: "balance_interval_ms",
        flag: "balance-interval-ms",
        env: "HULSE_BALANCE_INTERVAL_MS",
        value: "MS",
        unit: "milliseconds",
        default: "10000",
        range: "100 to 600000",
        about: "How often the cores' loads are measured; a core must have been hot three times in a \
                row before it gives anything away",
        scope: Scope::Serve,
    },
    Setting {
        name: "log",
        flag: "log",
        env: "HULSE_LOG",
        value: "FILTER",
        unit: "",
        default: "info",
        range: "error, warn, info, debug, trace or off, also per module: info,hulse_server=debug",
        about: "What is written to the log, on stderr",
        scope: Scope::Serve,
    },
    Setting {
        name: "log_json",
        flag: "log-json",
        env: "HULSE_LOG_JSON",
        value: "",
        unit: "",
        default: "off",
        range: "on or off",
        about: "Write the log as one JSON object per line",
        scope: Scope::Serve,
    },
    Setting {
        name: "server",
        flag: "server",
        env: "HULSE_SERVER",
        value: "URL",
        unit: "",
        default: "hulse://127.0.0.1:6650",
        range: "hulse://host:port, several separated by commas; port 6650 when left out",
        about: "Brokers to begin with; one that answers tells of the others",
        scope: Scope::Client,
    },
    Setting {
        name: "timeout",
        flag: "timeout",
        env: "HULSE_TIMEOUT",
        value: "S",
        unit: "seconds",
        default: "10, with one try to reach a server; produce, consume and bench: 10 to reach one, \
                  then 60",
        range: "0.1 to 86400",
        about: "Give up when nothing has got done for so long; until then, lost connections are \
                mended",
        scope: Scope::Client,
    },
    Setting {
        name: "token_file",
        flag: "token-file",
        env: "HULSE_TOKEN_FILE",
        value: "FILE",
        unit: "",
        default: "none",
        range: "not available yet",
        about: "Token to authenticate with",
        scope: Scope::Client,
    },
    Setting {
        name: "tls_ca",
        flag: "tls-ca",
        env: "HULSE_TLS_CA",
        value: "FILE",
        unit: "",
        default: "none",
        range: "not available yet",
        about: "Certificates of the authorities that servers are trusted by",
        scope: Scope::Client,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_flags_and_variables_correspond_and_are_unique() {
        for (at, setting) in SETTINGS.iter().enumerate() {
            assert_eq!(setting.flag, setting.name.replace('_', "-"));
            assert_eq!(
                setting.env,
                format!("HULSE_{}", setting.name.to_uppercase())
            );
            assert!(
                SETTINGS[..at]
                    .iter()
                    .all(|other| other.name != setting.name)
            );
        }
    }

    #[test]
    fn every_setting_says_what_it_is_for() {
        assert!(SETTINGS.len() <= 40, "few settings");
        for setting in SETTINGS {
            assert!(
                !setting.about.is_empty() && !setting.about.ends_with('.'),
                "{}",
                setting.name
            );
            assert!(
                !setting.range.is_empty() && !setting.default.is_empty(),
                "{}",
                setting.name
            );
            assert!(!setting.name.ends_with("_us") || setting.unit == "microseconds");
        }
    }
}
