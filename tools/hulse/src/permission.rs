//! `hulse permission`: grants, revokes and lists what roles may do.

use clap::{Args, Subcommand};
use hulse_client::json::PermissionList;
use hulse_client::{Client, Permission};
use serde::Serialize;

use crate::cli::CommonFlags;
use crate::client::request;
use crate::exit::{Failure, Outcome};
use crate::output::{table, text_of};
use crate::topic::show;

const AFTER_HELP: &str = "\
Permissions are kept with the namespace, and NOT ENFORCED yet: a broker does not authenticate its
clients so far, so that whoever reaches its ports may do everything. They will be asked for once it
does; grant them now, and they hold from then on.

Example:
  hulse permission grant acme/orders billing --produce --consume";

/// `hulse permission`.
#[derive(Debug, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(crate) enum PermissionVerb {
    /// Let a role do something in a namespace (kept; enforced once brokers authenticate clients)
    #[command(after_help = AFTER_HELP)]
    Grant(GrantArgs),
    /// Let a role do less in a namespace; without flags nothing any more
    #[command(after_help = AFTER_HELP)]
    Revoke(GrantArgs),
    /// List what roles may do, in one namespace or in all
    #[command(after_help = AFTER_HELP)]
    List(ListArgs),
}

/// `hulse permission list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The namespace: tenant/namespace [default: all]
    #[arg(value_name = "NS")]
    namespace: Option<String>,
}

/// `hulse permission grant` and `revoke`.
#[derive(Debug, Args)]
pub(crate) struct GrantArgs {
    /// The namespace: tenant/namespace
    #[arg(value_name = "NS")]
    namespace: String,
    /// The role: the name that a client authenticates as
    role: String,
    /// To publish
    #[arg(long)]
    produce: bool,
    /// To subscribe, receive and acknowledge
    #[arg(long)]
    consume: bool,
    /// To make, change and delete topics, subscriptions and policies
    #[arg(long)]
    administer: bool,
}

impl GrantArgs {
    fn permissions(&self) -> Vec<Permission> {
        let flags = [
            (self.produce, Permission::Produce),
            (self.consume, Permission::Consume),
            (self.administer, Permission::Administer),
        ];
        let named = flags.into_iter().filter(|(wanted, _)| *wanted);
        named.map(|(_, permission)| permission).collect()
    }
}

/// The permissions of all namespaces, as JSON.
#[derive(Debug, Serialize)]
struct AllPermissions {
    enforced: bool,
    namespaces: Vec<PermissionList>,
}

/// Carries out the verb.
///
/// # Errors
/// When no server can be reached, or it refuses.
pub(crate) fn run(verb: &PermissionVerb, common: &CommonFlags) -> Outcome {
    let settings = common.client_settings()?;
    let json = common.json;
    if let PermissionVerb::Grant(args) = verb
        && args.permissions().is_empty()
    {
        return Err(Failure::usage(
            "name at least one of --produce, --consume and --administer",
        ));
    }
    request(&settings, |client: Client| async move {
        let admin = client.admin();
        match verb {
            PermissionVerb::Grant(args) => {
                let permissions = args.permissions();
                let granted = admin
                    .grant(&args.namespace, &args.role, &permissions)
                    .await?;
                show(&granted, json, |list| text(std::slice::from_ref(list)))
            }
            PermissionVerb::Revoke(args) => {
                let mut permissions = args.permissions();
                if permissions.is_empty() {
                    permissions = Permission::ALL.to_vec();
                }
                let left = admin
                    .revoke(&args.namespace, &args.role, &permissions)
                    .await?;
                show(&left, json, |list| text(std::slice::from_ref(list)))
            }
            PermissionVerb::List(ListArgs {
                namespace: Some(namespace),
            }) => {
                let list = admin.permissions(namespace).await?;
                show(&list, json, |list| text(std::slice::from_ref(list)))
            }
            PermissionVerb::List(ListArgs { namespace: None }) => {
                let mut all = AllPermissions {
                    enforced: false,
                    namespaces: Vec::new(),
                };
                for namespace in admin.list_namespaces(None).await?.namespaces {
                    let list = admin.permissions(&namespace.name).await?;
                    all.enforced |= list.enforced;
                    all.namespaces.push(list);
                }
                show(&all, json, |all| text(&all.namespaces))
            }
        }
    })
}

fn text(lists: &[PermissionList]) -> String {
    let mut roles = table(["namespace", "role", "permissions"]);
    for list in lists {
        for role in &list.roles {
            roles.add_row([
                list.namespace.clone(),
                role.role.clone(),
                role.permissions.join(", "),
            ]);
        }
    }
    let mut text = text_of(&roles);
    if lists.iter().any(|list| !list.enforced) {
        text.push_str(
            "kept and not enforced: the broker does not authenticate its clients yet, so that \
             whoever reaches its ports may do everything\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_client::json::RolePermissions;

    #[test]
    fn a_list_says_that_nothing_is_enforced() {
        let list = PermissionList {
            namespace: "acme/eu".to_owned(),
            enforced: false,
            roles: vec![RolePermissions {
                role: "app".to_owned(),
                permissions: vec!["produce".to_owned(), "consume".to_owned()],
            }],
        };
        let text = text(&[list]);
        assert!(text.contains("app"), "{text}");
        assert!(text.contains("produce, consume"), "{text}");
        assert!(text.contains("not enforced"), "{text}");
    }
}
