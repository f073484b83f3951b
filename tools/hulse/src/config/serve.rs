//! The settings of `hulse serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hulse_server::{BalanceConfig, ServeConfig, ServeError};

use super::layers::{Layers, ServeFlags};
use super::value;
use crate::exit::Failure;

/// Where clients are listened for when nothing says otherwise.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(LOOPBACK, 6650);
/// Where the admin port is when nothing says otherwise.
const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(LOOPBACK, 8080);
const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// The most cores that may be asked for.
const CORES_MAX: u64 = 1024;
/// The longest that an idle core may spin, in microseconds.
const SPIN_US_MAX: u64 = 1000;

/// How often the cores' loads are measured when nothing says otherwise.
const BALANCE_INTERVAL: Duration = Duration::from_secs(10);
/// How busy a core must be to give anything away when nothing says otherwise, in percent.
const BALANCE_PERCENT: u32 = 60;
/// How often they may be measured at the most, and at the least, in milliseconds.
const BALANCE_INTERVAL_MS_MIN: u64 = 100;
const BALANCE_INTERVAL_MS_MAX: u64 = 600_000;

/// The settings of `hulse serve`.
#[derive(Debug, Clone)]
pub(crate) struct ServeSettings {
    /// What the broker itself is told.
    pub(crate) broker: ServeConfig,
    /// What is written to the log.
    pub(crate) log: String,
    /// Whether the log is JSON.
    pub(crate) log_json: bool,
}

impl ServeSettings {
    /// The settings that flags, environment and file give.
    ///
    /// # Errors
    /// When one is not what it may be, does not go with another, or its time has not come.
    pub(crate) fn resolve(flags: ServeFlags, config: Option<&PathBuf>) -> Result<Self, Failure> {
        Self::from_layers(&flags.over_file(config)?)
    }

    fn from_layers(layers: &Layers) -> Result<Self, Failure> {
        refuse_what_is_planned(layers)?;
        let text = |text: &str| Ok(text.to_owned());
        let broker = ServeConfig {
            data: layers
                .get("data", path)?
                .unwrap_or_else(|| PathBuf::from("./hulse-data")),
            listen: layers
                .get("listen", value::address)?
                .unwrap_or(LISTEN_DEFAULT),
            advertise: layers.get("advertise", value::advertised)?,
            admin: layers
                .get("admin", value::address_or_off)?
                .unwrap_or(Some(ADMIN_DEFAULT)),
            cores: layers.get("cores", cores)?,
            region: layers
                .get("region", value::name)?
                .unwrap_or_else(|| "local".to_owned()),
            broker: layers.get("broker", value::name)?.unwrap_or_else(host_name),
            allow_unauthenticated: layers.is_on("allow_unauthenticated")?,
            spin: layers.get("spin_us", spin)?.unwrap_or(Duration::ZERO),
            balance: balance(layers)?,
        };
        check_exposure(&broker)?;
        Ok(Self {
            broker,
            log: layers
                .get("log", text)?
                .unwrap_or_else(|| "info".to_owned()),
            log_json: layers.is_on("log_json")?,
        })
    }
}

/// Refuses to be reachable for everybody, and to tell clients to dial a wildcard.
fn check_exposure(broker: &ServeConfig) -> Result<(), Failure> {
    let listen = broker.listen;
    if !broker.allow_unauthenticated {
        if !listen.ip().is_loopback() {
            return Err(Failure::usage(ServeError::Unauthenticated { listen }));
        }
        if let Some(admin) = broker.admin.filter(|admin| !admin.ip().is_loopback()) {
            return Err(Failure::usage(ServeError::Unauthenticated {
                listen: admin,
            }));
        }
    }
    if listen.ip().is_unspecified() && broker.advertise.is_none() {
        return Err(Failure::usage(ServeError::AdvertiseNeeded { listen }));
    }
    Ok(())
}

fn refuse_what_is_planned(layers: &Layers) -> Result<(), Failure> {
    let text = |text: &str| Ok(text.to_owned());
    match layers.get("metadata", text)?.as_deref() {
        None | Some("embedded") => {}
        Some(store) if store.starts_with("hulse://") || store.starts_with("etcd://") => {
            return Err(Failure::not_available_yet(format_args!(
                "the metadata store {store}; a broker keeps its metadata embedded so far"
            )));
        }
        Some(other) => {
            return Err(Failure::usage(format_args!(
                "there is no metadata store `{other}`; it is embedded, hulse://H:P or \
                 etcd://H:P,..."
            )));
        }
    }
    match layers.get("timing", text)?.as_deref() {
        None | Some("lan") => {}
        Some(profile @ ("wan" | "ci")) => {
            return Err(Failure::not_available_yet(format_args!(
                "the timing profile {profile}; it is lan so far"
            )));
        }
        Some(other) => {
            return Err(Failure::usage(format_args!(
                "there is no timing profile `{other}`; it is lan, wan or ci"
            )));
        }
    }
    if layers.is_on("single_port")? {
        return Err(Failure::not_available_yet(
            "one port for all cores (--single-port); open one port per core, or use --cores 1",
        ));
    }
    Ok(())
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        Err("it is a directory".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

fn cores(text: &str) -> Result<usize, String> {
    let cores = value::whole(text, 1, CORES_MAX)?;
    Ok(usize::try_from(cores).expect("the limit fits"))
}

/// How the cores are balanced, if they are.
fn balance(layers: &Layers) -> Result<Option<BalanceConfig>, Failure> {
    let on = layers.is("balance", true)?;
    let every = layers.get("balance_interval_ms", |text| {
        let ms = value::whole(text, BALANCE_INTERVAL_MS_MIN, BALANCE_INTERVAL_MS_MAX)?;
        Ok(Duration::from_millis(ms))
    })?;
    let percent = layers.get("balance_percent", |text| {
        let percent = value::whole(text, 1, 100)?;
        Ok(u32::try_from(percent).expect("the limit fits"))
    })?;
    Ok(on.then(|| BalanceConfig {
        every: every.unwrap_or(BALANCE_INTERVAL),
        percent: percent.unwrap_or(BALANCE_PERCENT),
    }))
}

fn spin(text: &str) -> Result<Duration, String> {
    value::whole(text, 0, SPIN_US_MAX).map(Duration::from_micros)
}

/// The host's name, with what a broker's name may not hold replaced.
fn host_name() -> String {
    let system = rustix::system::uname();
    name_from_host(&system.nodename().to_string_lossy())
}

fn name_from_host(host: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = host
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .take(255)
        .collect();
    if name.is_empty() {
        "hulse".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn settings(flags: &[(&'static str, &str)]) -> Result<ServeSettings, Failure> {
        ServeSettings::from_layers(&Layers::of(flags, &[]))
    }

    fn refusal(flags: &[(&'static str, &str)]) -> String {
        let failure = settings(flags).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{failure}");
        failure.to_string()
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let settings = settings(&[]).unwrap();
        let broker = &settings.broker;
        assert_eq!(broker.data, PathBuf::from("./hulse-data"));
        assert_eq!(broker.listen.to_string(), "127.0.0.1:6650");
        assert_eq!(broker.admin.unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!((broker.cores, broker.spin), (None, Duration::ZERO));
        let balance = BalanceConfig {
            every: Duration::from_secs(10),
            percent: 60,
        };
        assert_eq!(broker.balance, Some(balance));
        assert_eq!(broker.region, "local");
        assert!(value::name(&broker.broker).is_ok(), "{}", broker.broker);
        assert_eq!((settings.log.as_str(), settings.log_json), ("info", false));
    }

    #[test]
    fn every_setting_reaches_the_broker() {
        let settings = settings(&[
            ("data", "/d"),
            ("listen", "0.0.0.0:0"),
            ("advertise", "b.example:7000"),
            ("admin", "off"),
            ("cores", "3"),
            ("region", "eu"),
            ("broker", "b1"),
            ("allow_unauthenticated", "on"),
            ("spin_us", "50"),
            ("balance_interval_ms", "500"),
            ("balance_percent", "75"),
            ("log", "debug"),
            ("log_json", "on"),
            ("metadata", "embedded"),
            ("timing", "lan"),
            ("single_port", "off"),
        ])
        .unwrap();
        let broker = settings.broker;
        assert_eq!(broker.data, PathBuf::from("/d"));
        assert_eq!(broker.listen.to_string(), "0.0.0.0:0");
        assert_eq!(broker.advertise, Some(("b.example".to_owned(), Some(7000))));
        assert_eq!((broker.admin, broker.cores), (None, Some(3)));
        assert_eq!(
            (broker.region.as_str(), broker.broker.as_str()),
            ("eu", "b1")
        );
        assert!(broker.allow_unauthenticated);
        assert_eq!(broker.spin, Duration::from_micros(50));
        let balance = BalanceConfig {
            every: Duration::from_millis(500),
            percent: 75,
        };
        assert_eq!(broker.balance, Some(balance));
        assert_eq!((settings.log.as_str(), settings.log_json), ("debug", true));
    }

    #[test]
    fn nobody_is_let_in_by_accident() {
        let said = refusal(&[("listen", "10.0.0.1:6650")]);
        assert!(said.contains("--allow-unauthenticated"), "{said}");
        let said = refusal(&[("admin", "10.0.0.1:8080")]);
        assert!(said.contains("10.0.0.1:8080"), "{said}");
        let open = ("allow_unauthenticated", "on");
        assert!(settings(&[("listen", "10.0.0.1:6650"), open]).is_ok());
        let said = refusal(&[("listen", "0.0.0.0:6650"), open]);
        assert!(said.contains("--advertise"), "{said}");
        assert!(settings(&[("listen", "[::1]:6650")]).is_ok());
    }

    #[test]
    fn what_is_planned_is_told_from_what_is_wrong() {
        for planned in [
            ("metadata", "hulse://h:6640"),
            ("metadata", "etcd://h:2379,i:2379"),
            ("timing", "wan"),
            ("timing", "ci"),
            ("single_port", "on"),
        ] {
            assert!(
                refusal(&[planned]).starts_with("not available yet: "),
                "{planned:?}"
            );
        }
        for wrong in [
            ("metadata", "redis"),
            ("timing", "slow"),
            ("cores", "0"),
            ("data", ""),
        ] {
            assert!(
                !refusal(&[wrong]).contains("not available yet"),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn the_hosts_name_becomes_a_legal_one() {
        assert_eq!(name_from_host("web-1.example"), "web-1.example");
        assert_eq!(name_from_host("böx 1"), "b-x-1");
        assert_eq!(name_from_host(""), "hulse");
    }
}
