//! Goal: the tables of `docs/log-format.md` are the ones that the code reads and writes by.

use std::path::Path;

use hulse_log::field::LAYOUTS;

#[test]
fn the_tables_of_the_document_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/log-format.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut documented = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("<!-- layout: ") else {
            continue;
        };
        let name = name.strip_suffix(" -->").unwrap();
        let rows: Vec<(String, String)> = lines
            .by_ref()
            .take_while(|line| *line != "<!-- end -->")
            .skip(2)
            .map(|row| {
                let cells: Vec<_> = row.split('|').map(str::trim).collect();
                assert_eq!(cells.len(), 5, "{row}");
                assert!(!cells[3].is_empty(), "{row}: a field has a meaning");
                (cells[1].to_owned(), cells[2].trim_matches('`').to_owned())
            })
            .collect();
        documented.push((name.to_owned(), rows));
    }
    let coded: Vec<_> = LAYOUTS
        .iter()
        .map(|(name, fields)| {
            let row = |field: &hulse_log::field::Field| {
                (
                    format!("{}..{}", field.at, field.end()),
                    field.name.to_owned(),
                )
            };
            (
                (*name).to_owned(),
                fields.iter().map(row).collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(documented, coded);
}
