//! Verbs whose time has not come. They parse as they will, and end with "not available yet".

use clap::{Args, Subcommand};

/// Verbs of the contract that are not there yet.
#[derive(Debug, Subcommand)]
pub(crate) enum PlannedVerb {
    /// Serve a metadata store to the brokers of a small site (not available yet)
    Witness(WitnessArgs),
    /// Create, list and delete tenants (not available yet)
    #[command(subcommand)]
    Tenant(TenantVerb),
    /// Create, list, delete and set namespaces (not available yet)
    #[command(subcommand)]
    Namespace(NamespaceVerb),
    /// Grant, revoke and list permissions (not available yet)
    #[command(subcommand)]
    Permission(PermissionVerb),
    /// Show what Hulse does, on this machine alone (not available yet)
    #[command(subcommand)]
    Demo(DemoVerb),
}

/// `hulse witness`.
#[derive(Debug, Args)]
pub(crate) struct WitnessArgs {
    /// Data directory
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Address to listen on [default: 127.0.0.1:6640]
    #[arg(long, value_name = "H:P")]
    listen: Option<String>,
}

/// What a planned verb is given that does not have its final form.
#[derive(Debug, Args)]
pub(crate) struct Rest {
    /// Names and flags of the verb
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    rest: Vec<String>,
}

/// `hulse tenant`.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantVerb {
    /// Create a tenant
    Create(Rest),
    /// List tenants
    List(Rest),
    /// Delete a tenant
    Delete(Rest),
}

/// `hulse namespace`.
#[derive(Debug, Subcommand)]
pub(crate) enum NamespaceVerb {
    /// Create a namespace
    Create(Rest),
    /// List namespaces
    List(Rest),
    /// Delete a namespace
    Delete(Rest),
    /// Set a namespace's policies
    Set(NamespaceSetArgs),
}

/// `hulse namespace set`.
#[derive(Debug, Args)]
pub(crate) struct NamespaceSetArgs {
    /// The namespace
    #[arg(value_name = "NS")]
    namespace: String,
    /// How long messages are kept that all have acknowledged
    #[arg(long, value_name = "D")]
    retention: Option<String>,
    /// How long messages are kept that somebody has not acknowledged
    #[arg(long, value_name = "D")]
    ttl: Option<String>,
    /// How much may be kept for a subscription
    #[arg(long, value_name = "N")]
    backlog: Option<String>,
    /// How much may be published per second
    #[arg(long, value_name = "R")]
    rate: Option<String>,
}

/// `hulse permission`.
#[derive(Debug, Subcommand)]
pub(crate) enum PermissionVerb {
    /// Grant a permission
    Grant(Rest),
    /// Revoke a permission
    Revoke(Rest),
    /// List permissions
    List(Rest),
}

/// `hulse demo`.
#[derive(Debug, Subcommand)]
pub(crate) enum DemoVerb {
    /// Two regions, one of which is killed
    Regions,
}

impl PlannedVerb {
    /// What it will be, and what there is so far.
    pub(crate) const fn what(&self) -> &'static str {
        match self {
            Self::Witness(_) => {
                "the witness (hulse witness); a broker keeps its metadata embedded so far"
            }
            Self::Tenant(_) => "tenants (hulse tenant); there is the tenant `public` so far",
            Self::Namespace(_) => {
                "namespaces (hulse namespace); there is the namespace `public/default` so far"
            }
            Self::Permission(_) => {
                "permissions (hulse permission); a broker listens on loopback unless \
                 --allow-unauthenticated is given"
            }
            Self::Demo(_) => "the demonstration of two regions (hulse demo regions)",
        }
    }
}
