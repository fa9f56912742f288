// For tests of components: a client that a test drives. `<TellwireProvider client={fakeClient()}>`.

export {
  FakeClient,
  type FakeOptions,
  type FakeRequest,
  fakeClient,
  type GivenMessage,
  refusal,
} from "@tellwire/client/testing";
