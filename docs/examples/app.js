// A bell and the uploads of a user, without a framework.
import { TellwireClient } from "@tellwire/client";
import { createFeed } from "@tellwire/client/feed";

/** Show the feed of a user in an element; return a function that ends it. */
export function show(element, { url, user, getToken }) {
  const feed = createFeed(new TellwireClient({ url, user, getToken }));
  const make = (tag, text = "") => Object.assign(document.createElement(tag), { textContent: text });
  const [button, list, bars] = [make("button"), make("ol"), make("div")];
  button.onclick = () => feed.notifications.get().markAllRead();
  element.append(button, list, bars);

  feed.notifications.subscribe(({ unread, notifications }) => {
    button.textContent = `Notifications: ${unread} new`;
    list.replaceChildren(...notifications.map(({ title }) => make("li", title)));
  });
  feed.uploads.subscribe((uploads) => {
    bars.replaceChildren(
      ...uploads.map(({ fileName, progress }) => {
        const label = make("label", fileName);
        label.append(Object.assign(make("progress"), { value: progress, max: 100 }));
        return label;
      }),
    );
  });
  return feed.start();
}
