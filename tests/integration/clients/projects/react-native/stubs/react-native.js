// Stands for React Native: the listeners of its AppState are on the globals.

const listeners = (globalThis.appStateListeners = new Set());

exports.AppState = {
  addEventListener(_type, listener) {
    listeners.add(listener);
    return { remove: () => listeners.delete(listener) };
  },
};
