// A tree of elements, and the patches that bring the page there. A library for it takes a third of all that the elements may
// weigh.
//
// Rules:
// - A child keeps its node, and so its focus, from one tree to the next: by its key, or as the first, second … of its tag.
// - Text is text and attributes are attributes: nothing is parsed. Styles are set one by one, as a strict policy of a page
//   allows (`style-src` without `unsafe-inline`).

type Listener = (event: never) => void;

/** Attributes; those that are false, null or undefined are left out. `on…` is a listener, `css` has styles. */
export interface Props {
  readonly key?: string;
  readonly css?: Readonly<Record<string, string>>;
  readonly [name: string]: unknown;
}

export interface Tree {
  readonly tag: string;
  readonly props: Props;
  readonly children: readonly Child[];
}

export type Child = Tree | string | false | null | undefined;

/** Return an element of a tree. */
export function h(tag: string, props: Props = {}, ...children: Child[]): Tree {
  return { tag, props, children };
}

type Node_ = (Element & Record<string, unknown>) | Text;

interface Drawn {
  readonly node: Node_;
  readonly tree: Tree | string;
  readonly children: Map<string, Drawn>;
}

const roots = new WeakMap<ParentNode, Map<string, Drawn>>();

/** Bring the children of a node to these. */
export function draw(root: ParentNode & Node, children: readonly Child[]): void {
  roots.set(root, patch(root, roots.get(root) ?? new Map(), children));
}

function patch(parent: Node, before: ReadonlyMap<string, Drawn>, children: readonly Child[]): Map<string, Drawn> {
  const wanted = named(children);
  for (const [name, { node }] of before) if (!wanted.has(name)) node.remove();
  const after = new Map<string, Drawn>();
  let index = 0;
  for (const [name, tree] of wanted) {
    const drawn = drawnAs(tree, before.get(name));
    const place = parent.childNodes[index++] ?? null;
    if (place !== drawn.node) parent.insertBefore(drawn.node, place);
    after.set(name, drawn);
  }
  return after;
}

/** The children with a name for each: their key, or their tag and its number. */
function named(children: readonly Child[]): Map<string, Tree | string> {
  const counts: Record<string, number> = {};
  const found = new Map<string, Tree | string>();
  for (const child of children) {
    if (child === false || child === null || child === undefined) continue;
    const tag = typeof child === "string" ? "" : child.tag;
    const number = (counts[tag] ?? 0) + 1;
    counts[tag] = number;
    const key = typeof child === "string" ? undefined : child.props.key;
    found.set(key === undefined ? `${tag} ${number}` : `${tag}#${key}`, child);
  }
  return found;
}

function drawnAs(tree: Tree | string, before: Drawn | undefined): Drawn {
  if (typeof tree === "string") {
    const node = (before?.node ?? document.createTextNode("")) as Text;
    if (node.data !== tree) node.data = tree;
    return { node, tree, children: new Map() };
  }
  const node = (before?.node ?? create(tree.tag)) as Element & Record<string, unknown>;
  const old = (before?.tree as Tree | undefined)?.props ?? {};
  for (const name of new Set([...Object.keys(old), ...Object.keys(tree.props)])) {
    if (old[name] !== tree.props[name]) set(node, name, tree.props[name]);
  }
  return { node, tree, children: patch(node, before?.children ?? new Map(), tree.children) };
}

function create(tag: string): Element {
  return tag === "svg" || tag === "path"
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
}

function set(node: Element & Record<string, unknown>, name: string, value: unknown): void {
  if (name === "key") return;
  if (name.startsWith("on")) node[name] = value as Listener;
  else if (name === "css")
    for (const [each, style] of Object.entries(value ?? {}))
      (node as unknown as HTMLElement).style.setProperty(each, style);
  else if (value === false || value === null || value === undefined) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : String(value));
}
