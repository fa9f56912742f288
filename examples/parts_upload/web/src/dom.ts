// The few functions that make elements.

/** Return a new element with these properties and content. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...content: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...content);
  return element;
}

export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  return document.getElementById(id) as E;
}

/** Return a copy of the content of a template. */
export function fromTemplate(id: string): Node {
  return document.importNode(byId<HTMLTemplateElement>(id).content, true);
}
