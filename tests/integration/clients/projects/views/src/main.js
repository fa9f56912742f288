// The examples of the docs in one page: App.vue, App.svelte and app.js.

import { mount } from "svelte";
import { createApp } from "vue";
import SvelteApp from "./App.svelte";
import VueApp from "./App.vue";
import { show } from "./app.js";

export const views = {
  vue(element, options) {
    const app = createApp(VueApp, options);
    app.mount(element);
    return () => app.unmount();
  },
  svelte(element, options) {
    mount(SvelteApp, { target: element, props: options });
  },
  plain: show,
};

globalThis.views = views;
