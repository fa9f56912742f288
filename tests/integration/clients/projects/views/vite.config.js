import { svelte } from "@sveltejs/vite-plugin-svelte";
import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [vue(), svelte({ configFile: false })],
  // Vitest looks for what a server needs, and Svelte has another half for that.
  resolve: process.env.VITEST ? { conditions: ["browser"] } : {},
});
