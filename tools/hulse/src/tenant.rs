//! `hulse tenant`: makes, lists, describes and deletes tenants, and sets their policies.

use clap::{Args, Subcommand};
use hulse_client::Client;
use hulse_client::json::TenantList;
use serde::Serialize;

use crate::cli::CommonFlags;
use crate::client::request;
use crate::exit::Outcome;
use crate::output::{table, text_of};
use crate::policies::{self, PolicyFlags, cells};
use crate::topic::show;

/// `hulse tenant`.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantVerb {
    /// Create a tenant
    #[command(after_help = policies::HELP)]
    Create(TenantSetArgs),
    /// List all tenants with what is set for each
    List,
    /// Show the policies of a tenant
    Describe(TenantArgs),
    /// Set policies for everything of a tenant
    #[command(after_help = policies::HELP)]
    Set(TenantSetArgs),
    /// Delete a tenant that has no namespaces; `public` is never deleted
    Delete(TenantArgs),
}

/// A tenant.
#[derive(Debug, Args)]
pub(crate) struct TenantArgs {
    /// The tenant: letters, digits and -_.=:%@+~!$()
    tenant: String,
}

/// A tenant and its policies.
#[derive(Debug, Args)]
pub(crate) struct TenantSetArgs {
    /// The tenant: letters, digits and -_.=:%@+~!$()
    tenant: String,
    #[command(flatten)]
    policies: PolicyFlags,
}

/// What is gone, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Deleted<'a> {
    /// Its name.
    pub(crate) deleted: &'a str,
}

/// Carries out the verb.
///
/// # Errors
/// When no server can be reached, or it refuses.
pub(crate) fn run(verb: &TenantVerb, common: &CommonFlags) -> Outcome {
    let settings = common.client_settings()?;
    let json = common.json;
    if let TenantVerb::Set(args) = verb {
        args.policies.some_changes()?;
    }
    request(&settings, |client: Client| async move {
        let admin = client.admin();
        match verb {
            TenantVerb::Create(TenantSetArgs { tenant, policies }) => {
                let mut made = admin.create_tenant(tenant).await?;
                let changes = policies.changes();
                if !changes.is_empty() {
                    made.policies = admin.set_policies(tenant, &changes).await?.policies;
                }
                show(&made, json, |made| {
                    format!("created tenant {}\n", made.name)
                })
            }
            TenantVerb::List => show(&admin.list_tenants().await?, json, list),
            TenantVerb::Describe(args) => {
                let policies = admin.policies(&args.tenant).await?;
                show(&policies, json, policies::describe)
            }
            TenantVerb::Set(TenantSetArgs { tenant, policies }) => {
                let changed = admin.set_policies(tenant, &policies.changes()).await?;
                show(&changed, json, policies::describe)
            }
            TenantVerb::Delete(TenantArgs { tenant }) => {
                admin.delete_tenant(tenant).await?;
                let deleted = Deleted { deleted: tenant };
                show(&deleted, json, |it| {
                    format!("deleted tenant {}\n", it.deleted)
                })
            }
        }
    })
}

fn list(list: &TenantList) -> String {
    let mut tenants = table([
        "tenant",
        "namespaces",
        "retention",
        "ttl",
        "backlog",
        "rate",
    ]);
    for tenant in &list.tenants {
        let [retention, ttl, backlog, rate] = cells(&tenant.policies);
        tenants.add_row([
            tenant.name.clone(),
            tenant.namespaces.to_string(),
            retention,
            ttl,
            backlog,
            rate,
        ]);
    }
    text_of(&tenants)
}
