/** The field of every log line about one order. */
export interface AboutOrder {
  readonly order?: string;
}

/** Says of whatever is thrown meanwhile which order it was about, for the log of who catches it. */
export const aboutOrder = async <T>(order: string, run: () => Promise<T>): Promise<T> => {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Error) Object.assign(error, { order } satisfies AboutOrder);
    throw error;
  }
};

/** What a thrown value says about its order; nothing if it is about none. */
export const orderOf = (error: unknown): AboutOrder => {
  const order = error instanceof Error ? (error as AboutOrder).order : undefined;
  return order === undefined ? {} : { order };
};
