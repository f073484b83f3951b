//! Chooses steps, runs them one after the other, and says how long each took.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::Failure;
use crate::steps::{Group, Options, Step};

/// The seed of this run: `HULSE_SEED` when it is set, else one from the clock.
///
/// # Errors
/// When `HULSE_SEED` is no number.
pub fn seed() -> Result<u64, Failure> {
    match std::env::var("HULSE_SEED") {
        Ok(text) => text.trim().parse().map_err(|_| {
            Failure(format!(
                "HULSE_SEED is {text:?}; it has to be a whole number of 64 bits."
            ))
        }),
        Err(_) => Ok(SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_secs() ^ u64::from(since.subsec_nanos()))),
    }
}

/// The steps that one call runs: those of the plain group, with `system` all of them, or the ones
/// that `only` names, in the order of the list.
///
/// # Errors
/// When `only` names a step that there is not.
pub fn select<'a>(
    steps: &'a [Step],
    system: bool,
    only: &[String],
) -> Result<Vec<&'a Step>, Failure> {
    if let Some(unknown) = only
        .iter()
        .find(|name| !steps.iter().any(|step| step.name == **name))
    {
        let names: Vec<_> = steps.iter().map(|step| step.name).collect();
        let names = names.join(", ");
        return Err(Failure(format!(
            "There is no step `{unknown}`; there are: {names}."
        )));
    }
    let wanted = |step: &&Step| match only {
        [] => system || step.group == Group::Plain,
        names => names.iter().any(|name| name == step.name),
    };
    Ok(steps.iter().filter(wanted).collect())
}

/// Prints the steps, a line for each.
pub fn list(steps: &[Step]) {
    for step in steps {
        let group = match step.group {
            Group::Plain => "",
            Group::System => " [--system]",
        };
        println!("{:<12} {}{group}", step.name, step.about);
    }
}

/// Runs the steps and stops at the first that fails.
///
/// # Errors
/// The failure of that step, with its name.
pub fn run(steps: &[&Step], options: &Options) -> Result<(), Failure> {
    println!(
        "seed: HULSE_SEED={} (set it to repeat this run)",
        options.seed
    );
    let started = Instant::now();
    let mut times = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        println!(
            "\n=== [{}/{}] {}: {}",
            index + 1,
            steps.len(),
            step.name,
            step.about
        );
        let step_started = Instant::now();
        (step.run)(options).map_err(|failure| {
            let seed = options.seed;
            Failure(format!(
                "Step `{name}` failed. {failure} To run it alone: \
                 HULSE_SEED={seed} cargo xtask test --only {name}",
                name = step.name
            ))
        })?;
        let seconds = step_started.elapsed().as_secs_f64();
        println!("--- {} passed in {seconds:.1} s", step.name);
        times.push((step.name, seconds));
    }
    println!();
    for (name, seconds) in &times {
        println!("{name:<12} {seconds:>7.1} s");
    }
    let (count, seconds) = (times.len(), started.elapsed().as_secs_f64());
    println!(
        "{count} of {count} steps passed in {seconds:.1} s (HULSE_SEED={})",
        options.seed
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 3] = [
        Step {
            name: "one",
            about: "",
            group: Group::Plain,
            run: |_| Ok(()),
        },
        Step {
            name: "two",
            about: "",
            group: Group::System,
            run: |_| Err(Failure::new("No.")),
        },
        Step {
            name: "three",
            about: "",
            group: Group::Plain,
            run: |_| panic!("never reached"),
        },
    ];

    fn names(steps: &[&Step]) -> Vec<&'static str> {
        steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn the_plain_group_is_the_default_and_a_name_overrides_it() {
        assert_eq!(
            names(&select(&STEPS, false, &[]).unwrap()),
            ["one", "three"]
        );
        assert_eq!(
            names(&select(&STEPS, true, &[]).unwrap()),
            ["one", "two", "three"]
        );
        assert_eq!(
            names(&select(&STEPS, false, &["two".into()]).unwrap()),
            ["two"]
        );
        let failure = select(&STEPS, true, &["four".into()]).unwrap_err();
        assert_eq!(
            failure.0,
            "There is no step `four`; there are: one, two, three."
        );
    }

    #[test]
    fn the_first_failure_ends_the_run() {
        let steps = select(&STEPS, true, &[]).unwrap();
        let failure = run(
            &steps,
            &Options {
                long: false,
                seed: 1,
            },
        )
        .unwrap_err();
        assert!(
            failure
                .0
                .starts_with("Step `two` failed. No. To run it alone"),
            "{failure}"
        );
    }
}
