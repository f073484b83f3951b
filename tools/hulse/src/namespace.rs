//! `hulse namespace`: makes, lists, describes and deletes namespaces, and sets their policies.

use clap::{Args, Subcommand};
use hulse_client::Client;
use hulse_client::json::NamespaceList;

use crate::cli::CommonFlags;
use crate::client::request;
use crate::exit::Outcome;
use crate::output::{table, text_of};
use crate::policies::{self, PolicyFlags, cells};
use crate::tenant::Deleted;
use crate::topic::show;

const LIST_AFTER_HELP: &str = "\
Shown is what is set for each namespace itself; `hulse namespace describe` shows beside that what
holds by all levels together.";

/// `hulse namespace`.
#[derive(Debug, Subcommand)]
pub(crate) enum NamespaceVerb {
    /// Create a namespace in a tenant that exists
    #[command(after_help = policies::HELP)]
    Create(NamespaceSetArgs),
    /// List namespaces with what is set for each
    #[command(after_help = LIST_AFTER_HELP)]
    List(ListArgs),
    /// Show the policies of a namespace: what is set for it, and what holds
    Describe(NamespaceArgs),
    /// Set policies for the topics of a namespace
    #[command(after_help = policies::HELP)]
    Set(NamespaceSetArgs),
    /// Delete a namespace that has no topics, with its policies and permissions; `public/default` is
    /// never deleted
    Delete(NamespaceArgs),
}

/// `hulse namespace list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
}

/// A namespace.
#[derive(Debug, Args)]
pub(crate) struct NamespaceArgs {
    /// The namespace: tenant/namespace
    #[arg(value_name = "NS")]
    namespace: String,
}

/// A namespace and its policies.
#[derive(Debug, Args)]
pub(crate) struct NamespaceSetArgs {
    /// The namespace: tenant/namespace
    #[arg(value_name = "NS")]
    namespace: String,
    #[command(flatten)]
    policies: PolicyFlags,
}

/// Carries out the verb.
///
/// # Errors
/// When no server can be reached, or it refuses.
pub(crate) fn run(verb: &NamespaceVerb, common: &CommonFlags) -> Outcome {
    let settings = common.client_settings()?;
    let json = common.json;
    if let NamespaceVerb::Set(args) = verb {
        args.policies.some_changes()?;
    }
    request(&settings, |client: Client| async move {
        let admin = client.admin();
        match verb {
            NamespaceVerb::Create(NamespaceSetArgs {
                namespace,
                policies,
            }) => {
                let mut made = admin.create_namespace(namespace).await?;
                let changes = policies.changes();
                if !changes.is_empty() {
                    let set = admin.set_policies(namespace, &changes).await?;
                    (made.policies, made.effective) = (set.policies, set.effective);
                }
                show(&made, json, |made| {
                    format!("created namespace {}\n", made.name)
                })
            }
            NamespaceVerb::List(ListArgs { tenant }) => {
                let namespaces = admin.list_namespaces(tenant.as_deref()).await?;
                show(&namespaces, json, list)
            }
            NamespaceVerb::Describe(NamespaceArgs { namespace }) => {
                // A name without a slash would be taken for a tenant's.
                let found = admin.policies(&as_namespace(namespace)).await?;
                show(&found, json, policies::describe)
            }
            NamespaceVerb::Set(NamespaceSetArgs {
                namespace,
                policies,
            }) => {
                let changes = policies.changes();
                let scope = as_namespace(namespace);
                let changed = admin.set_policies(&scope, &changes).await?;
                show(&changed, json, policies::describe)
            }
            NamespaceVerb::Delete(NamespaceArgs { namespace }) => {
                admin.delete_namespace(namespace).await?;
                let deleted = Deleted { deleted: namespace };
                show(&deleted, json, |it| {
                    format!("deleted namespace {}\n", it.deleted)
                })
            }
        }
    })
}

/// What is refused unless it names a namespace: nothing else has one slash.
fn as_namespace(text: &str) -> String {
    if text.contains('/') && !text.contains("://") {
        text.to_owned()
    } else {
        format!("{text}/")
    }
}

fn list(list: &NamespaceList) -> String {
    let mut namespaces = table(["namespace", "topics", "retention", "ttl", "backlog", "rate"]);
    for namespace in &list.namespaces {
        let [retention, ttl, backlog, rate] = cells(&namespace.policies);
        namespaces.add_row([
            namespace.name.clone(),
            namespace.topics.to_string(),
            retention,
            ttl,
            backlog,
            rate,
        ]);
    }
    text_of(&namespaces)
}
