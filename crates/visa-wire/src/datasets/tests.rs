//! Each parser on a few true lines, on broken ones, and on arbitrary text.

use proptest::prelude::*;

use super::*;

fn fails<T: std::fmt::Debug>(result: Result<T>, line: u64, word: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.line, line, "{error}");
    assert!(error.to_string().contains(word), "{error}");
}

#[test]
fn touche() {
    let text = "Argument ID\tConclusion\tStance\tPremise\nA1\tBan \"it\"\tin favor of\tit's \"bad\"\nA2\tBan it\tagainst\tno\n";
    let rows = touche::arguments(text).unwrap();
    assert_eq!(rows[0].premise, "it's \"bad\"");
    assert_eq!(rows[1].context(), "against Ban it");
    fails(
        touche::arguments("Argument ID\tConclusion\tStance\tPremise\nA\tB\tmaybe\tC\n"),
        2,
        "maybe",
    );
    fails(
        touche::arguments("Argument ID\tConclusion\tStance\nA\tB\tagainst\n"),
        1,
        "Premise",
    );
    fails(
        touche::arguments("Argument ID\tConclusion\tStance\tPremise\nA\tB\n"),
        2,
        "found record",
    );
    let labels = touche::labels("Argument ID\tX\tY\nA1\t0\t1\n").unwrap();
    assert_eq!(
        labels,
        touche::Labels {
            names: vec!["X".into(), "Y".into()],
            rows: vec![("A1".into(), vec![false, true])]
        }
    );
    fails(touche::labels("Argument ID\tX\nA1\t2\n"), 2, "neither");
    fails(touche::labels(""), 1, "empty");
    let categories = touche::categories("{\"B\": {\"v\": [\"p\", \"q\"]}, \"A\": {}}").unwrap();
    assert_eq!(categories[0].name, "B");
    assert_eq!(categories[0].values[0].1, ["p", "q"]);
    fails(touche::categories("{\"B\":\n 3"), 2, "EOF");
}

#[test]
fn social_chemistry() {
    use social_chemistry::Foundation::{Care, Loyalty};
    let head = "rot,rot-moral-foundations\n";
    let rows = social_chemistry::rules(&format!(
        "{head}\"It's good, they say\",care-harm|loyalty-betrayal\nIt rains,\n"
    ))
    .unwrap();
    assert_eq!(rows[0].text, "It's good, they say");
    assert_eq!(rows[0].foundations, [Care, Loyalty]);
    assert!(rows[1].foundations.is_empty());
    fails(
        social_chemistry::rules(&format!("{head}a,care\n")),
        2,
        "care",
    );
    fails(social_chemistry::rules("rot\na\n"), 1, "foundations");
}

#[test]
fn valuebench() {
    let rows =
        valuebench::items("questionnaire,item,value,agreement,question\nQ,\"a, b\",V,-1,?\n")
            .unwrap();
    assert_eq!((rows[0].item.as_str(), rows[0].agrees), ("a, b", false));
    fails(
        valuebench::items("questionnaire,item,value,agreement\nQ,a,V,0\n"),
        2,
        "agreement",
    );
    let rows =
        valuebench::definitions("questionnaire,value,definition,,\nQ,V,\"a\\\", b,\nQ,W,c,,\n")
            .unwrap();
    assert_eq!(rows[1].definition, "c");
}

#[test]
fn persona() {
    let line = r#"{"question":"?","statement":" I do ","label_confidence":0.9,"answer_matching_behavior":" No","answer_not_matching_behavior":" Yes"}"#;
    let rows = persona::statements(&format!("{line}\n\n")).unwrap();
    assert_eq!(
        (rows[0].statement.as_str(), rows[0].matches),
        ("I do", false)
    );
    fails(
        persona::statements(&format!("{line}\n{{\"statement\":")),
        2,
        "EOF",
    );
    fails(
        persona::statements(&line.replace(" No", "Maybe")),
        1,
        "Maybe",
    );
    fails(
        persona::statements(&line.replace("0.9", "1.9")),
        1,
        "label_confidence",
    );
}

#[test]
fn pairs() {
    let text = "sentence1\tsentence2\tgold_label\na\tb\tneutral\n";
    assert_eq!(
        cad_nli::pairs(text).unwrap()[0].relation,
        cad_nli::Relation::Neutral
    );
    fails(
        cad_nli::pairs(&text.replace("neutral", "-")),
        2,
        "gold_label",
    );
    let splits = wiki_split::splits("a b .\ta . <::::> b .\n").unwrap();
    assert_eq!(splits[0].1, ["a .", "b ."]);
    fails(wiki_split::splits("alone\n"), 1, "two columns");
}

#[test]
fn scenarios() {
    assert!(ethics::justice("label,scenario\n1,x\n").unwrap()[0].label);
    assert_eq!(
        ethics::deontology("label,scenario,excuse\n0,x,y\n").unwrap()[0]
            .second
            .as_deref(),
        Some("y")
    );
    assert_eq!(
        ethics::virtue("label,scenario\n0,x [SEP] kind\n").unwrap()[0]
            .second
            .as_deref(),
        Some("kind")
    );
    fails(ethics::virtue("label,scenario\n0,x\n"), 2, "[SEP]");
    assert_eq!(
        ethics::commonsense("label,input,is_short,edited\n0,x,True,False\n").unwrap()[0].text,
        "x"
    );
    assert_eq!(
        ethics::utilitarianism("a,b\n").unwrap(),
        [("a".to_owned(), "b".to_owned())]
    );
    fails(ethics::utilitarianism("a\n"), 1, "two cells");
}

#[test]
fn dilemmas() {
    let rules = |n: u8| moralchoice::RULES.map(|r| format!("a{n}_{r}")).join(",");
    let head = format!(
        "scenario_id,context,action1,action2,{},{}",
        rules(1),
        rules(2)
    );
    let cells = ["Yes"; 10].join(",") + "," + &["No agreement"; 10].join(",");
    let rows = moralchoice::dilemmas(&format!("{head}\nC,c,a,b,{cells}\n")).unwrap();
    assert_eq!(rows[0].breaks, [[Some(true); 10], [None; 10]]);
}

#[test]
fn claims() {
    let rows = kpa::arguments("arg_id,argument,topic,stance\na,x,t,-1\n").unwrap();
    assert!(!rows[0].supports);
    assert_eq!(
        kpa::key_points("key_point_id,key_point,topic,stance\nk,x,t,1\n").unwrap()[0].id,
        "k"
    );
    assert!(kpa::matches("arg_id,key_point_id,label\na,k,1\n").unwrap()[0].matches);
    let text = r#"[{"cId":1,"text":"c","perspectives":[{"pids":[2],"stance_label_3":"SUPPORT"}]}]"#;
    assert_eq!(
        perspectrum::claims(text).unwrap()[0].perspectives[0].stance,
        perspectrum::Stance::Support
    );
    assert_eq!(
        perspectrum::perspectives(r#"[{"pId":2,"text":"p"}]"#).unwrap()[0].id,
        2
    );
    fails(perspectrum::claims("[{"), 1, "EOF");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "[\\PC\\t\\n\",{}\\[\\]:01]{0,200}") {
        let _ = touche::arguments(&text);
        let _ = touche::labels(&text);
        let _ = touche::categories(&text);
        let _ = valuebench::items(&text);
        let _ = valuebench::definitions(&text);
        let _ = persona::statements(&text);
        let _ = cad_nli::pairs(&text);
        let _ = ethics::justice(&text);
        let _ = ethics::deontology(&text);
        let _ = ethics::virtue(&text);
        let _ = ethics::commonsense(&text);
        let _ = ethics::utilitarianism(&text);
        let _ = moralchoice::dilemmas(&text);
        let _ = kpa::arguments(&text);
        let _ = kpa::matches(&text);
        let _ = perspectrum::claims(&text);
        let _ = perspectrum::perspectives(&text);
        let _ = social_chemistry::rules(&text);
        let _ = wiki_split::splits(&text);
    }

    #[test]
    fn written_arguments_read_back(premise in "[a-z\"', .]{1,40}", conclusion in "[A-Za-z]{1,10}", favor: bool) {
        prop_assume!(!premise.trim().is_empty());
        let stance = if favor { "in favor of" } else { "against" };
        let text = format!("Argument ID\tConclusion\tStance\tPremise\nA\t{conclusion}\t{stance}\t{premise}\n");
        let rows = touche::arguments(&text).unwrap();
        prop_assert_eq!(rows.len(), 1);
        prop_assert_eq!(&rows[0].premise, premise.trim());
        prop_assert_eq!(rows[0].stance.name(), stance);
    }
}
