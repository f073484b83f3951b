//! Messages between plain threads and a core. This is the example to follow: a thread with its
//! own runtime, or with none, and a core share two channels.

use std::thread;

use crate::on_core::on_core;

#[test]
fn a_thread_sends_ten_thousand_messages_to_a_core_and_gets_its_answers() {
    const MESSAGES: u64 = 10_000;
    let (question, questions) = flume::bounded::<(u64, flume::Sender<u64>)>(64);

    let asker = thread::spawn(move || {
        let mut sum = 0;
        for number in 0..MESSAGES {
            let (answer, answers) = flume::bounded(1);
            question.send((number, answer)).expect("the core listens");
            // Every tenth is waited for, so that the core also parks in between.
            if number % 10 == 0 {
                sum += answers.recv().expect("the core answers");
            }
        }
        sum
    });

    let served = on_core(move |_context| async move {
        let mut served = 0;
        // It ends when the asker has dropped its end.
        while let Ok((number, answer)) = questions.recv_async().await {
            assert_eq!(number, served, "in the order in which they were sent");
            let _ = answer.send(number * 2);
            served += 1;
        }
        served
    });

    assert_eq!(served, MESSAGES);
    let expected: u64 = (0..MESSAGES).step_by(10).map(|number| number * 2).sum();
    assert_eq!(asker.join().expect("no panic"), expected);
}
