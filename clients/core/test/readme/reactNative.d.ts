// The parts of React Native's modules that the README's example takes, as their packages declare them.

declare module "react-native" {
  export type AppStateStatus = "active" | "background" | "inactive" | "unknown" | "extension";
  export const AppState: {
    addEventListener(type: "change" | "memoryWarning", listener: (state: AppStateStatus) => void): { remove(): void };
  };
}

declare module "@react-native-community/netinfo" {
  export type NetInfoState =
    | { type: "unknown"; isConnected: boolean | null; isInternetReachable: null }
    | { type: "none"; isConnected: false; isInternetReachable: false }
    | { type: "wifi" | "cellular" | "other"; isConnected: true; isInternetReachable: boolean | null };
  const NetInfo: { addEventListener(listener: (state: NetInfoState) => void): () => void };
  export default NetInfo;
}
