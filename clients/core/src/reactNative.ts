// The `Environment` of React Native, made of its own `AppState` and of the package NetInfo, if the application has it.
// This file imports neither, so that it depends on no version of them.

import type { Environment, Unsubscribe } from "./types.js";

/** The part of `AppState` of "react-native" that is needed. */
export interface AppStateLike {
  addEventListener(type: "change", listener: (state: string) => void): { remove(): void };
}

/** The part of "@react-native-community/netinfo" that is needed. */
export interface NetInfoLike {
  addEventListener(listener: (state: { type: string; isConnected: boolean | null }) => void): Unsubscribe;
}

/** The parts of an application that the client is to know of. */
export interface ReactNativeParts {
  AppState: AppStateLike;
  NetInfo?: NetInfoLike;
}

/**
 * Return the environment of a client in React Native: it wakes up when the application is active again, writes cursors
 * when that goes to the background, and knows of the network.
 */
export function environment({
  AppState,
  NetInfo,
}: ReactNativeParts): Pick<Environment, "online" | "onPageEvent" | "onPageHide"> {
  let isConnected: boolean | null = null;
  return {
    online: () => isConnected !== false,
    onPageEvent: (listener) => {
      const subscription = AppState.addEventListener("change", (state) => {
        if (state === "active") listener("wake");
      });
      let known: string | undefined;
      const forget = NetInfo?.addEventListener((network) => {
        const next = `${network.type} ${network.isConnected}`;
        // NetInfo says at once how things are. That is news only if there is no network.
        const isNews = known !== next && (known !== undefined || network.isConnected === false);
        known = next;
        isConnected = network.isConnected;
        if (isNews) listener(isConnected === false ? "offline" : "online");
      });
      return () => {
        subscription.remove();
        forget?.();
        isConnected = null;
      };
    },
    onPageHide: (listener) => {
      const subscription = AppState.addEventListener("change", (state) => {
        if (state === "background") listener();
      });
      return () => subscription.remove();
    },
  };
}
