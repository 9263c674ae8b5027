// The pages. The address after # says which one is shown, so that every state can be linked.
const PER_PAGE = 40;
const VERDICTS = {
  "imagined success": (row) => episodes.score[row] >= 0.5,
  "imagined failure": (row) => episodes.score[row] < 0.5,
  [`too optimistic: imagined success, ${run.side} failure`]: (row) => episodes.score[row] >= 0.5 && episodes.real[row] === 0,
  [`too pessimistic: imagined failure, ${run.side} success`]: (row) => episodes.score[row] < 0.5 && episodes.real[row] === 1,
};
let listed = []; // the episodes of the last list, in its order: n and p move through them
let list = "#episodes"; // its address

function ranking([chosen]) {
  const rows = run.policies.map((row) => el("tr", { class: "pick", "aria-selected": String(row.policy === chosen), click: () => { location.hash = place("ranking", row.policy); } },
    el("td", { class: "num" }, String(row.rank)),
    el("th", { scope: "row" }, el("a", { href: place("ranking", row.policy) }, row.policy)),
    el("td", { class: "letters" }, row.letters),
    el("td", { class: "num" }, rate(row.predicted && row.predicted[0]), " ", el("span", { class: "interval" }, span(row.predicted))),
    el("td", { class: "barred hide" }, bars(row.predicted, row.measured)),
    run.hasTruth ? el("td", { class: "num" }, rate(row.measured && row.measured[0]), " ", el("span", { class: "interval hide" }, span(row.measured))) : null,
    el("td", { class: "num" }, row.best === null ? "" : rate(row.best)),
    run.tasks.length > 1 ? el("td", { class: "hide" }, row.worst ? `${row.worst.task} ${rate(row.worst.predicted && row.worst.predicted[0])}` : "") : null));
  const heads = [["#", "num"], ["policy"], ["tied group"], ["predicted success", "num"], ["0 to 1", "barred hide"]];
  if (run.hasTruth) heads.push([`${run.adjective} success`, "num"]);
  heads.push(["P(best)", "num"]);
  if (run.tasks.length > 1) heads.push(["worst task, predicted", "hide"]);
  const shown = [el("h1", { class: "verdict" }, run.verdict), ...run.sentences.map((text) => el("p", {}, text)), ...caveats(),
    el("h2", {}, "Ranking"), table("ranking", heads, rows),
    el("p", { class: "note" }, "Policies that share a letter are statistically tied. Select a policy to see its tasks and episodes.", run.hasTruth ? [el("span", { class: "key imagined" }, "predicted"), el("span", { class: "key real" }, run.side)] : [])];
  const row = run.policies.find((each) => each.policy === chosen);
  if (row) shown.push(ofPolicy(row));
  if (run.tasks.length) shown.push(el("h2", {}, "Task by task"), byTask());
  if (run.agreement.rows.length) shown.push(el("h2", {}, `Agreement with ${run.source}`), agreement());
  return shown;
}

function ofPolicy(row) {
  const rows = run.tasks.filter((task) => task.cells[row.policy]).map((task) => {
    const [predicted, measured] = task.cells[row.policy];
    return el("tr", {}, el("th", { scope: "row" }, el("a", { href: `#episodes?${new URLSearchParams({ policy: row.policy, task: task.task })}` }, task.task)),
      el("td", { class: "num" }, both(predicted)), el("td", { class: "barred" }, bars(predicted, measured)), run.hasTruth ? el("td", { class: "num" }, both(measured)) : null);
  });
  const heads = [["task"], ["predicted", "num"], ["0 to 1", "barred"], ...(run.hasTruth ? [[run.side, "num"]] : [])];
  return el("section", { id: "policy" }, el("h2", {}, row.policy), table("", heads, rows),
    el("p", {}, el("a", { href: `#episodes?${new URLSearchParams({ policy: row.policy })}` }, "All its episodes"), " · ", el("a", { href: place("compare", row.policy) }, "Compare it with another policy")));
}

function byTask() {
  const rows = run.tasks.map((task) => el("tr", {}, el("th", { scope: "row" }, task.task), el("td", { class: "num" }, task.starts === null ? "" : String(task.starts)),
    el("td", { class: "num" }, rate(task.predicted)), run.hasTruth ? [el("td", { class: "num" }, rate(task.measured)), el("td", { class: "num" }, rate(task.optimism))] : null));
  return table("", [["task"], ["starts", "num"], ["mean predicted", "num"], ...(run.hasTruth ? [[`mean ${run.adjective}`, "num"], ["optimism", "num"]] : [])], rows);
}

function agreement() {
  const rows = run.agreement.rows.map((each) => el("tr", {}, el("th", { scope: "row" }, each.name), each.values.map((value) => el("td", { class: "num" }, value))));
  return el("div", {}, table("", [["ranked by"], ...run.agreement.measures.map((name) => [name, "num"])], rows), run.agreement.further.map(([name, value]) => el("p", { class: "note" }, `${name}: ${value}`)));
}

function overview(_, choice) {
  const wanted = Object.fromEntries(["policy", "task", "verdict"].map((name) => [name, choice.get(name) || ""]));
  const filmed = choice.get("film") === "1";
  const to = (change) => {
    const next = new URLSearchParams(Object.entries({ ...wanted, film: filmed ? "1" : "", ...change }).filter(([, value]) => value));
    location.hash = `episodes${next.size ? `?${next}` : ""}`;
  };
  listed = [];
  for (let row = 0; row < count; row++) {
    if (wanted.policy && episodes.policies[episodes.policy[row]] !== wanted.policy) continue;
    if (wanted.task && episodes.tasks[episodes.task[row]] !== wanted.task) continue;
    if (wanted.verdict && VERDICTS[wanted.verdict] && !VERDICTS[wanted.verdict](row)) continue;
    if (filmed && !episodes.films[episodes.id[row]]) continue;
    listed.push(row);
  }
  listed.sort((a, b) => Number(episodes.id[b] in episodes.films) - Number(episodes.id[a] in episodes.films));
  list = location.hash || "#episodes";
  const pages = Math.max(1, Math.ceil(listed.length / PER_PAGE));
  const page = Math.min(Math.max(Number(choice.get("page")) || 1, 1), pages);
  const verdicts = Object.keys(VERDICTS).slice(0, run.hasTruth ? undefined : 2);
  const names = (all) => [["", "all"], ...all.map((name) => [name, name])];
  const order = run.policies.map((row) => row.policy).filter((name) => episodes.policies.includes(name));
  const films = Object.keys(episodes.films).length;
  const check = el("input", { type: "checkbox", change: () => to({ film: check.checked ? "1" : "" }) });
  check.checked = filmed;
  const rows = listed.slice((page - 1) * PER_PAGE, page * PER_PAGE).map((row) => {
    const [id, film] = [episodes.id[row], episodes.films[episodes.id[row]]];
    return el("tr", { class: "pick", click: () => { location.hash = place("episode", id); } },
      el("td", {}, film ? el("img", { class: "poster", src: `${film.file}.webp`, alt: "", loading: "lazy" }) : ""),
      el("th", { scope: "row" }, el("a", { href: place("episode", id) }, episodes.policies[episodes.policy[row]])),
      el("td", {}, episodes.starts[episodes.start[row]]),
      el("td", { class: "num" }, rate(episodes.score[row])), run.hasTruth ? el("td", {}, outcome(episodes.real[row])) : null);
  });
  const heads = [["film"], ["policy"], ["start"], ["P(success)", "num"], ...(run.hasTruth ? [[run.side]] : [])];
  return [el("h1", { class: "verdict" }, "Episodes"),
    el("div", { class: "controls" }, select("Policy", names(order.length ? order : episodes.policies), wanted.policy, (policy) => to({ policy })), select("Task", names(episodes.tasks), wanted.task, (task) => to({ task })),
      select("Verdict", names(verdicts), wanted.verdict, (verdict) => to({ verdict })), el("label", { class: "check" }, check, "Only with a film")),
    el("p", { class: "note" }, `${listed.length.toLocaleString("en")} of ${count.toLocaleString("en")} imagined episodes; ${films} have a film.`),
    listed.length ? table("long", heads, rows) : el("p", {}, "No episode matches. Widen the choice above."),
    pages > 1 ? el("p", { class: "controls" }, turn("Previous page", page > 1, () => to({ page: String(page - 1) })), turn("Next page", page < pages, () => to({ page: String(page + 1) })), `page ${page} of ${pages}`) : null];
}

function turn(text, can, go) {
  return el("button", { class: "button", type: "button", disabled: !can, click: go }, text);
}

/** The episodes to move through: those of the list, or all if a link opened this one. */
function around(row) {
  return listed.includes(row) ? listed : [...Array(count).keys()];
}

function beside(row, by) {
  const all = around(row);
  return place("episode", episodes.id[all[(all.indexOf(row) + by + all.length) % all.length]]);
}

function episode([id]) {
  const row = placeOf.get(id);
  if (row === undefined) return [el("h1", { class: "verdict" }, "There is no such episode in this run"), el("p", {}, el("a", { href: "#episodes" }, "All episodes"))];
  const [policy, task, start] = [episodes.policies[episodes.policy[row]], episodes.tasks[episodes.task[row]], episodes.starts[episodes.start[row]]];
  const film = episodes.films[id];
  const [score, real] = [episodes.score[row], episodes.real[row]];
  const wrong = real !== null && score !== null && score >= 0.5 !== Boolean(real);
  const facts = [["Judged", rate(score)], ...(real === null ? [] : [[run.side[0].toUpperCase() + run.side.slice(1), outcome(real)]]), ["Task", task], ["Start", start], ["Seed", String(episodes.seed[row])],
    ...Object.entries(episodes.signals).filter(([, values]) => values[row] !== null).map(([name, values]) => [name, rate(values[row])])];
  const all = around(row);
  return [el("p", {}, el("a", { href: list }, "All episodes"), el("span", { class: "note" }, ` · ${(all.indexOf(row) + 1).toLocaleString("en")} of ${all.length.toLocaleString("en")}`)),
    el("h1", { class: "verdict" }, policy, " ", wrong ? el("span", { class: "badge failed" }, real ? "too pessimistic" : "too optimistic") : null),
    film ? player(film) : el("p", { class: "note" }, "This episode has no film. Films are made by worldeval film and included the next time a bundle is written."),
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    el("p", { class: "controls" }, turn("Previous (p)", true, () => { location.hash = beside(row, -1); }), turn("Next (n)", true, () => { location.hash = beside(row, 1); }),
      el("a", { href: place("compare", policy, "", start) }, "Compare from this start")),
    film ? el("p", { class: "note" }, "Keys: space plays and pauses, left and right move by a frame, n and p change the episode. The address of this page links to this episode.") : null];
}

function compare([first, second, start]) {
  const names = run.policies.map((row) => row.policy);
  if (names.length < 2) return [el("h1", { class: "verdict" }, "Compare two policies"), el("p", {}, "This run contains only one policy.")];
  const a = names.includes(first) ? first : names[0];
  const b = names.includes(second) && second !== a ? second : names.find((name) => name !== a);
  const duel = run.duels.find((each) => (each.first === a && each.second === b) || (each.first === b && each.second === a));
  const pairs = paired(a, b);
  const shown = pairs.find((each) => each.start === start) || pairs.find((each) => each.filmed) || pairs[0];
  const options = names.map((name) => [name, name]);
  const out = [el("h1", { class: "verdict" }, "Compare two policies"),
    el("div", { class: "controls" }, select("First", options, a, (name) => { location.hash = place("compare", name, name === b ? a : b); }), select("Second", options.filter(([name]) => name !== a), b, (name) => { location.hash = place("compare", a, name); }))];
  if (duel) out.push(el("p", {}, `${duel.first} minus ${duel.second}, predicted success: ${both(duel.difference)}. `, el("strong", {}, duel.separated ? `Statistically separated: ${run.separation}.` : "Statistically tied."), ` ${duel.needed}`));
  if (!shown) return [...out, el("p", {}, "They share no start.")];
  const why = shown.start === start ? "chosen by you" : shown.filmed ? "shown because it has the largest difference among the starts with films of both" : "shown because it has the largest difference";
  out.push(el("h2", {}, `Both from ${shown.start}`), el("p", { class: "note" }, `${why[0].toUpperCase()}${why.slice(1)}: ${rate(Math.abs(shown.gap))} between the judged probabilities.`));
  const together = [];
  out.push(el("div", { class: "pair" }, [[a, shown.a], [b, shown.b]].map(([name, row]) => {
    const film = episodes.films[episodes.id[row]];
    return el("div", {}, el("h3", {}, el("a", { href: place("episode", episodes.id[row]) }, name)), el("p", { class: "note" }, `judged ${rate(episodes.score[row])}${episodes.real[row] === null ? "" : `, ${run.side}: ${outcome(episodes.real[row])}`}`), film ? player(film, together) : el("p", { class: "note" }, "No film."));
  })));
  const rows = pairs.slice(0, 200).map((each) => el("tr", { class: "pick", "aria-selected": String(each === shown), click: () => { location.hash = place("compare", a, b, each.start); } },
    el("th", { scope: "row" }, el("a", { href: place("compare", a, b, each.start) }, each.start)), el("td", { class: "num" }, rate(episodes.score[each.a])), el("td", { class: "num" }, rate(episodes.score[each.b])),
    run.hasTruth ? [el("td", {}, outcome(episodes.real[each.a])), el("td", {}, outcome(episodes.real[each.b]))] : null, el("td", {}, each.filmed ? "both" : "")));
  out.push(el("h2", {}, "Start by start"), table("long", [["start"], ["first, judged", "num"], ["second, judged", "num"], ...(run.hasTruth ? [[`first, ${run.side}`], [`second, ${run.side}`]] : []), ["films"]], rows), el("p", { class: "note" }, "The largest differences come first."));
  return out;
}

/** The starts that both policies have, the largest difference first. */
function paired(a, b) {
  const own = new Map();
  for (let row = 0; row < count; row++) if (episodes.policies[episodes.policy[row]] === a) own.set(`${episodes.task[row]} ${episodes.start[row]} ${episodes.seed[row]}`, row);
  const found = [];
  for (let row = 0; row < count; row++) {
    if (episodes.policies[episodes.policy[row]] !== b) continue;
    const other = own.get(`${episodes.task[row]} ${episodes.start[row]} ${episodes.seed[row]}`);
    if (other === undefined) continue;
    const films = [other, row].map((each) => episodes.films[episodes.id[each]]);
    found.push({ start: episodes.starts[episodes.start[row]], a: other, b: row, gap: (episodes.score[other] ?? 0) - (episodes.score[row] ?? 0), filmed: films.every(Boolean) });
  }
  return found.sort((x, y) => Math.abs(y.gap) - Math.abs(x.gap));
}

function care() {
  const gates = run.gates.map((gate) => el("tr", {}, el("th", { scope: "row" }, gate.title, gate.meaning ? el("span", { class: "meaning" }, gate.meaning) : null), el("td", { class: "num" }, gate.value), el("td", {}, gate.threshold),
    el("td", {}, gate.passed === null ? (gate.threshold ? el("span", { class: "badge" }, "not decided") : "") : el("span", { class: gate.passed ? "badge passed" : "badge failed" }, gate.passed ? "passed" : "failed"))));
  return [el("h1", { class: "verdict" }, "Caveats and provenance"), ...(run.refusals.length || run.warnings.length ? caveats() : [el("p", {}, "No caveats were found.")]),
    run.damaged.length ? el("div", { class: "warning" }, el("h2", {}, "Excluded, because it is damaged"), el("ul", {}, run.damaged.map((text) => el("li", {}, text)))) : null,
    gates.length ? [el("h2", {}, "Gates: can the world model be trusted?"), table("gates long", [["gate"], ["value", "num"], ["threshold"], ["verdict"]], gates)] : [],
    el("h2", {}, "How the run was made"), el("dl", { class: "facts" }, run.facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))))].flat();
}

const PAGES = { ranking, episodes: overview, episode, compare, caveats: care };

function draw() {
  const { parts, choice } = here();
  const name = parts[0] in PAGES ? parts[0] : "ranking";
  players.forEach((each) => each.stop());
  players = [];
  document.getElementById("care").replaceChildren(...(["ranking", "caveats"].includes(name) ? [] : caveatLine()));
  document.getElementById("page").replaceChildren(...PAGES[name](parts.slice(1), choice).filter(Boolean));
  for (const link of document.querySelectorAll("nav a")) {
    const own = link.getAttribute("href").slice(1);
    if (own === name || (own === "episodes" && name === "episode")) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  const chosen = document.getElementById("policy");
  if (chosen) chosen.scrollIntoView({ block: "nearest" }); else window.scrollTo(0, 0);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || ["SELECT", "INPUT", "BUTTON", "A"].includes(event.target.tagName) && event.key !== "n" && event.key !== "p") return;
  const { parts } = here();
  const row = parts[0] === "episode" ? placeOf.get(parts[1]) : undefined;
  if (row !== undefined && event.key === "n") location.hash = beside(row, 1);
  else if (row !== undefined && event.key === "p") location.hash = beside(row, -1);
  else if (players.length && event.key === " ") players[0].toggle();
  else if (players.length && event.key === "ArrowRight") players.forEach((each) => each.step(1));
  else if (players.length && event.key === "ArrowLeft") players.forEach((each) => each.step(-1));
  else return;
  event.preventDefault();
});
window.addEventListener("hashchange", draw);
draw();
