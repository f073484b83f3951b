//! The rules of `xtask::structure`, held against the repository.

use xtask::metadata::Metadata;
use xtask::repository::{files, read, root};
use xtask::structure::{edges, layout, licences, pure, rooms};

#[track_caller]
fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn packages_depend_only_downwards() {
    let metadata = Metadata::of_workspace().unwrap();
    assert!(metadata.packages.len() >= edges::ALLOWED.len());
    assert_none("dependencies", &edges::violations(&metadata.packages));
}

#[test]
fn pure_packages_have_no_std_and_no_unsafe_code() {
    let metadata = Metadata::of_workspace().unwrap();
    for (name, folder) in pure::PURE {
        let package = metadata
            .packages
            .iter()
            .find(|package| package.name == name)
            .unwrap();
        assert!(
            package
                .manifest_path
                .ends_with(&format!("{folder}/Cargo.toml"))
        );
        assert_none("std", &pure::std_dependencies(package));
        let lib = read(&format!("{folder}/src/lib.rs"));
        assert_none("attributes", &pure::missing_attributes(name, &lib));
    }
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let files = files("rs");
    assert_none("unsafe code outside its rooms", &rooms::outside(&files));
    for room in rooms::ROOMS {
        assert!(
            files.iter().any(|file| file.path == room),
            "{room} is named and does not exist"
        );
    }
}

#[test]
fn the_top_level_holds_what_it_should() {
    let entries = std::fs::read_dir(root()).unwrap();
    let names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_none("strangers at the top level", &layout::strangers(&names));
    for folder in layout::FOLDERS {
        assert!(
            names.iter().any(|name| name == folder),
            "{folder} is missing"
        );
    }
}

#[test]
fn files_are_short_and_well_named() {
    assert_none("files", &layout::violations(&files("rs")));
}

#[test]
fn every_licence_is_accepted_by_the_policy() {
    let policy = licences::Policy::parse(&read("deny.toml")).unwrap();
    let metadata = Metadata::of_everything().unwrap();
    assert!(
        metadata
            .packages
            .iter()
            .any(|package| package.source.is_some())
    );
    assert_none("licences", &policy.violations(&metadata.packages));
}
