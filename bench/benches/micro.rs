//! The pieces of the datapath under criterion's statistics.
use criterion::{Criterion, criterion_group, criterion_main};
use std::time::{Duration, Instant};

fn pieces(criterion: &mut Criterion) {
    // Words that cargo and criterion know begin with a dash; any other is part of a name.
    let only = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    for mut case in bench::micro::cases(|name| name.contains(&only)).expect("tables and engines") {
        criterion.bench_function(&case.name, |bencher| {
            bencher.iter_custom(|times| {
                let start = Instant::now();
                (case.run)(times);
                start.elapsed()
            });
        });
    }
}

fn briefly() -> Criterion {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(300));
    criterion.measurement_time(Duration::from_secs(1)).sample_size(30).configure_from_args()
}
criterion_group! {
    name = micro;
    config = briefly();
    targets = pieces
}
criterion_main!(micro);
