// React hooks for tellwire.
export {};
