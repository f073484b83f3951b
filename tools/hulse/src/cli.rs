//! The command line: one tree of verbs. Its names are a contract; scripts rely on them.

mod planned;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{ClientFlags, ClientSettings};
use crate::exit::{Failure, Outcome};
use crate::{
    bench, config, consume, doctor, explain, log, namespace, permission, produce, serve,
    subscription, tenant, topic,
};

/// The end of the top level's help.
const AFTER_HELP: &str = "\
Begin with:
  hulse serve                                 run a broker; data goes to ./hulse-data
  seq 1000 | hulse produce numbers            in another terminal: a line is a message
  hulse consume numbers -s me --until-end     read them; run it again, and nothing comes twice

What an acknowledgement means: at `disk` (the default), the message is synced on every member of
the in-sync set; at `memory`, it is out of the process (safe from `kill -9`, not from power loss)
on every member of it. It is chosen by topic: hulse topic create TOPIC --ack disk|memory.

Exit status: 0 done, 1 failed, 2 usage, 3 cannot reach a server, 10 unhealthy (doctor, log verify),
130 interrupted.

Settings come from a TOML file (--config), the environment (HULSE_*) and flags; later ones win.";

/// A message broker for Linux servers: one binary, server and command line
#[derive(Debug, Parser)]
#[command(
    name = "hulse",
    version,
    about,
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: CommonFlags,
    #[command(subcommand)]
    verb: Verb,
}

/// Flags that every verb has.
#[derive(Debug, Clone, Args)]
pub(crate) struct CommonFlags {
    /// Configuration file (TOML); the environment and flags override what it says
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "HULSE_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// Print JSON for programs in place of tables for people
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    client: ClientFlags,
}

impl CommonFlags {
    /// The configuration file, if one was named.
    pub(crate) const fn config(&self) -> Option<&PathBuf> {
        self.config.as_ref()
    }

    /// The settings of a command that talks to a server.
    ///
    /// # Errors
    /// When one is not what it may be.
    pub(crate) fn client_settings(&self) -> Result<ClientSettings, Failure> {
        ClientSettings::resolve(self.client.clone(), self.config())
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a broker
    Serve(serve::ServeArgs),
    /// Send lines as messages
    Produce(produce::ProduceArgs),
    /// Receive messages as lines
    Consume(consume::ConsumeArgs),
    /// Create, list, describe and delete topics
    #[command(subcommand)]
    Topic(topic::TopicVerb),
    /// List, move and delete subscriptions
    #[command(subcommand)]
    Subscription(subscription::SubscriptionVerb),
    /// Create, list and delete tenants, and set their policies
    #[command(subcommand)]
    Tenant(tenant::TenantVerb),
    /// Create, list and delete namespaces, and set their policies
    #[command(subcommand)]
    Namespace(namespace::NamespaceVerb),
    /// Grant, revoke and list what roles may do (kept; not enforced yet)
    #[command(subcommand)]
    Permission(permission::PermissionVerb),
    /// Say why a subscription does not move, or what holds producers back
    Explain(explain::ExplainArgs),
    /// Measure: open loop, with percentiles
    #[command(subcommand)]
    Bench(bench::BenchVerb),
    /// Read a stopped broker's files
    #[command(subcommand)]
    Log(log::LogVerb),
    /// Check this machine: kernel, io_uring, memlock, files, maps, file system; how to mend each
    Doctor(doctor::DoctorArgs),
    #[command(flatten)]
    Planned(planned::PlannedVerb),
    /// Print parts of the documentation that are made from the program
    #[command(subcommand, hide = true)]
    Docs(DocsVerb),
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum DocsVerb {
    /// The table of settings, as Markdown
    ConfigTable,
}

impl Cli {
    /// Carries out the verb.
    ///
    /// # Errors
    /// One sentence for people and the exit status.
    pub(crate) fn run(self) -> Outcome {
        let common = &self.common;
        match self.verb {
            Verb::Serve(args) => serve::run(args, common),
            Verb::Produce(args) => produce::run(&args, common),
            Verb::Consume(args) => consume::run(&args, common),
            Verb::Topic(verb) => topic::run(&verb, common),
            Verb::Subscription(verb) => subscription::run(&verb, common),
            Verb::Tenant(verb) => tenant::run(&verb, common),
            Verb::Namespace(verb) => namespace::run(&verb, common),
            Verb::Permission(verb) => permission::run(&verb, common),
            Verb::Explain(args) => explain::run(&args, common),
            Verb::Bench(verb) => bench::run(&verb, common),
            Verb::Log(verb) => log::run(&verb, common),
            Verb::Doctor(args) => doctor::run(&args, common),
            Verb::Planned(verb) => Err(Failure::not_available_yet(verb.what())),
            Verb::Docs(DocsVerb::ConfigTable) => crate::output::print(&config::markdown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_and_flag_has_a_help_text() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path}");
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path}: {}",
                    argument.get_id()
                );
            }
            for verb in command
                .get_subcommands()
                .filter(|verb| verb.get_name() != "help")
            {
                check(verb, &path);
            }
        }
        check(&Cli::command(), "");
    }

    #[test]
    fn flags_of_every_verb_go_before_it_or_after_it() {
        for line in [
            ["hulse", "--server", "a:1", "topic", "list"],
            ["hulse", "topic", "list", "--server", "a:1"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            let settings = cli.common.client_settings().unwrap();
            assert_eq!(settings.server, "a:1", "{line:?}");
        }
    }
}
