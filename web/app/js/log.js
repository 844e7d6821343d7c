// What a training writes: metrics.jsonl (an object a line: kind, step, measures) and samples.txt ("== step N" and lines).

// name → kind → [[step, value]], in the order in which names first appear.
export class Log {
  measures = new Map();
  bad = 0;

  add(text) {
    for (const line of text.split("\n")) {
      if (!line.trim()) continue;
      let object;
      try {
        object = JSON.parse(line);
      } catch {
        this.bad++;
        continue;
      }
      const {kind = "train", step, ...rest} = object ?? {};
      if (!Number.isFinite(step)) {
        this.bad++;
        continue;
      }
      for (const [name, value] of Object.entries(rest)) {
        if (!Number.isFinite(value)) continue;
        if (!this.measures.has(name)) this.measures.set(name, new Map());
        const kinds = this.measures.get(name);
        if (!kinds.has(kind)) kinds.set(kind, []);
        kinds.get(kind).push([step, value]);
      }
    }
  }

  get step() {
    return Math.max(0, ...[...this.measures.values()].flatMap((kinds) => [...kinds.values()].map((points) => points.at(-1)[0])));
  }
}

// [{step, text}] of a samples file.
export function samples(text) {
  return text.split(/^== step /m).slice(1).map((block) => {
    const end = block.indexOf("\n");
    return {step: Number(block.slice(0, end)), text: block.slice(end + 1).trimEnd()};
  });
}
