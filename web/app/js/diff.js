// What changed between two texts, word by word (Myers' shortest edit script).

// Beyond this many edits the texts have little in common, and a diff would help nobody.
const MOST = 3000;

export const words = (text) => text.match(/\s+|[\p{L}\p{N}\p{M}]+(?:['’-][\p{L}\p{N}\p{M}]+)*|[^\s]/gu) ?? [];

// [{kind: "same" | "gone" | "new", text}], or null when the texts are too different.
export function diff(before, after) {
  const [a, b] = [words(before), words(after)];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const middle = script(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  if (!middle) return null;
  const same = (list) => list.map((text) => ({kind: "same", text}));
  return join(tidy([...same(a.slice(0, head)), ...middle, ...same(a.slice(a.length - tail))]));
}

function script(a, b) {
  const [n, m] = [a.length, b.length];
  const limit = Math.min(n + m, MOST);
  const trace = [];
  let v = new Map([[1, 0]]);
  for (let d = 0; d <= limit; d++) {
    trace.push(new Map(v));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (v.get(k - 1) ?? -1) < (v.get(k + 1) ?? -1));
      let x = down ? v.get(k + 1) : v.get(k - 1) + 1;
      let y = x - k;
      while (x < n && y < m && a[x] === b[y]) [x, y] = [x + 1, y + 1];
      v.set(k, x);
      if (x >= n && y >= m) return back(a, b, trace);
    }
  }
  return null;
}

function back(a, b, trace) {
  const out = [];
  let [x, y] = [a.length, b.length];
  for (let d = trace.length - 1; d >= 0; d--) {
    const v = trace[d];
    const k = x - y;
    const down = k === -d || (k !== d && (v.get(k - 1) ?? -1) < (v.get(k + 1) ?? -1));
    const from = down ? k + 1 : k - 1;
    const px = v.get(from) ?? 0, py = px - from;
    while (x > px && y > py && x > 0 && y > 0) {
      out.push({kind: "same", text: a[--x]});
      y--;
    }
    if (d > 0) out.push(down ? {kind: "new", text: b[--y]} : {kind: "gone", text: a[--x]});
  }
  return out.reverse();
}

// A lone blank between two changes is part of the change; without this a changed phrase reads as a picket fence.
function tidy(list) {
  return list.flatMap((piece, i) => {
    const inside = piece.kind === "same" && /^\s+$/.test(piece.text)
      && i > 0 && i < list.length - 1 && list[i - 1].kind !== "same" && list[i + 1].kind !== "same";
    return inside ? [{kind: "gone", text: piece.text}, {kind: "new", text: piece.text}] : [piece];
  });
}

// Runs of one kind become one piece; within a change what went stands before what came.
function join(list) {
  const out = [];
  let gone = "", fresh = "";
  const flush = () => {
    if (gone) out.push({kind: "gone", text: gone});
    if (fresh) out.push({kind: "new", text: fresh});
    gone = fresh = "";
  };
  for (const piece of list) {
    if (piece.kind === "gone") gone += piece.text;
    else if (piece.kind === "new") fresh += piece.text;
    else {
      flush();
      if (out.at(-1)?.kind === "same") out.at(-1).text += piece.text;
      else out.push({...piece});
    }
  }
  flush();
  return out;
}
