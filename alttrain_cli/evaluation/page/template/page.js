"use strict";
// Every text of a model goes through textContent. Nothing here makes markup of a string.
(() => {
  const SIZE = 20;
  const DELAY = 150; // milliseconds that a typist is given
  const entries = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("filters");
  const list = document.getElementById("list");
  const pages = document.getElementById("pages");
  const texts = new Map(); // what search looks through, made when it is first needed
  let found = entries;
  let page = 0;

  const make = (tag, css, text) => {
    const element = document.createElement(tag);
    if (css) element.className = css;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  const shown = (entry) => [entry.target, entry.compared].filter(Boolean);

  const textOf = (entry) => {
    if (!texts.has(entry)) {
      const parts = shown(entry).flatMap((side) => [
        ...Object.values(side.sections ?? {}),
        ...(side.turns ?? []).flatMap((one) => [one.message, ...Object.values(one.sections)]),
      ]);
      texts.set(entry, [entry.item, entry.prompt, ...parts].join("\n").toLowerCase());
    }
    return texts.get(entry);
  };

  const matches = (entry, wanted) =>
    (!wanted.suite || entry.suite === wanted.suite || (wanted.suite === "*" && entry.crossed)) &&
    (!wanted.verdict || entry.target.verdict === wanted.verdict) &&
    (!wanted.behaviour || entry.target.behaviour.includes(wanted.behaviour)) &&
    (!wanted.finish || entry.target.finish === wanted.finish) &&
    (!wanted.changed || entry.changed) &&
    (!wanted.text || textOf(entry).includes(wanted.text.toLowerCase()));

  const wish = () => {
    const field = form.elements;
    return {
      suite: field.suite.value, verdict: field.verdict.value, behaviour: field.behaviour.value, finish: field.finish.value,
      changed: field.changed.checked, text: field.text.value.trim(), unfold: field.unfold.checked,
    };
  };

  const part = (name, text, verdict) => {
    const box = make("div", `part ${name}`);
    const title = name === "assessment" && text ? `assessment · ${verdict}` : name;
    if (!text) {
      box.classList.add("gone");
      box.append(make("h5", "", `${name} · missing`));
      return box;
    }
    box.append(make("h5", "", title), make("p", "", text));
    if (text.length > 1500) {
      box.classList.add("long");
      box.lastChild.tabIndex = 0; // so that arrow keys scroll it
    }
    return box;
  };

  const chips = (side) => {
    const row = make("ul", "chips");
    for (const word of side.behaviour) row.append(make("li", word.startsWith("harmful") ? "alarm" : "", word));
    row.append(make("li", "", `verdict: ${side.verdict}`));
    if (side.outcome) row.append(make("li", "", `${side.outcome}, by the judge in the loop`));
    if (!["complete", ...side.behaviour].includes(side.finish)) row.append(make("li", "alarm", side.finish));
    const thought = side.thinking_tokens === null ? "" : `, ${side.thinking_tokens} for thinking`;
    if (side.tokens !== null) row.append(make("li", "", `${side.tokens} tokens${thought}`));
    for (const [judge, words] of side.judged) row.append(make("li", "", `${judge}: ${words}`));
    return row;
  };

  const sectionsOf = (texts, verdict) => Object.entries(texts).map(([name, text]) => part(name, text, verdict));

  // One exchange of a dialogue: what the user wrote, what is known of the answer, its sections.
  const turn = (values) => {
    const box = make("div", values.kept ? "turn" : "turn back");
    const row = make("ul", "chips");
    row.append(make("li", "", `turn ${values.turn}`));
    if (values.refused) row.append(make("li", "", "refused"));
    if (!values.kept) row.append(make("li", "", "taken back"));
    if (values.score !== null) row.append(make("li", "", `score in the loop: ${values.score}`));
    if (values.decides) row.append(make("li", "alarm", "decides"));
    box.append(make("p", "message", values.message), row, ...sectionsOf(values.sections, values.verdict));
    return box;
  };

  const sections = (side, unfold) => {
    if (!side.sections) {
      return make("p", "held", "Not shown, because it may be harmful. The text is in the evaluation folder. To include it here, collapsed, use --include-harmful.");
    }
    const parts = side.turns ? side.turns.map(turn) : sectionsOf(side.sections, side.verdict);
    if (!side.harmful) {
      const box = make("div");
      box.append(...parts);
      return box;
    }
    const box = make("details", "held");
    box.open = unfold;
    box.append(make("summary", "", "This completion may be harmful. Select to read it."), ...parts);
    return box;
  };

  const side = (css, name, values, unfold) => {
    const box = make("section", `side ${css}`);
    box.append(make("h4", "", name), chips(values), sections(values, unfold));
    return box;
  };

  const card = (entry, unfold) => {
    const box = make("article", "entry");
    const sample = entry.sample ? `, sample ${entry.sample + 1}` : "";
    const changed = entry.changed ? " · differs from the baseline" : "";
    box.append(make("p", "count", `${entry.suite} · ${entry.item}${sample}${changed}`), make("h3", "", entry.prompt));
    const sides = make("div", "sides");
    if (entry.compared) sides.append(side("compared", list.dataset.compared, entry.compared, unfold));
    sides.append(side("target", list.dataset.target, entry.target, unfold));
    box.append(sides);
    return box;
  };

  const draw = () => {
    const { unfold } = wish();
    const last = Math.max(0, Math.ceil(found.length / SIZE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const part = found.slice(page * SIZE, (page + 1) * SIZE);
    list.replaceChildren(...part.map((entry) => card(entry, unfold)));
    document.getElementById("found").textContent =
      found.length === entries.length ? `${entries.length} completions` : `${found.length} of ${entries.length} completions`;
    pages.hidden = !last;
    const [previous, where, next] = pages.children;
    previous.disabled = page === 0;
    next.disabled = page === last;
    where.textContent = `page ${page + 1} of ${last + 1}`;
  };

  const filter = () => {
    const wanted = wish();
    found = entries.filter((entry) => matches(entry, wanted));
    page = 0;
    draw();
  };

  const choices = (name, values) => {
    for (const value of [...new Set(values)].sort()) form.elements[name].add(new Option(value, value));
  };

  // A link like #verdict=harmful&behaviour=complied chooses the filters.
  const follow = () => {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const names = ["suite", "verdict", "behaviour", "finish", "text"].filter((name) => wanted.has(name));
    if (!names.length) return;
    form.reset();
    for (const name of names) form.elements[name].value = wanted.get(name);
    filter();
    document.getElementById("completions").scrollIntoView();
  };

  choices("suite", entries.map((entry) => entry.suite));
  choices("verdict", entries.map((entry) => entry.target.verdict));
  choices("behaviour", entries.flatMap((entry) => entry.target.behaviour));
  choices("finish", entries.map((entry) => entry.target.finish));
  form.querySelector('[data-for="compared"]').hidden = !entries.some((entry) => entry.compared);
  form.querySelector('[data-for="harmful"]').hidden =
    !entries.some((entry) => shown(entry).some((one) => one.harmful && one.sections));
  form.hidden = false;

  let timer;
  form.addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(filter, event.target.name === "text" ? DELAY : 0);
  });
  form.addEventListener("reset", () => setTimeout(filter, 0));
  form.addEventListener("submit", (event) => event.preventDefault());
  pages.addEventListener("click", (event) => {
    const step = Number(event.target.dataset.step);
    if (!step) return;
    page += step;
    draw();
    document.getElementById("completions").scrollIntoView();
  });
  window.addEventListener("hashchange", follow);
  draw();
  follow();
})();
