/** The pattern of buyer ids, sale ids, grant ids and purchase keys (DESIGN section 2). */
export const ID_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;

export const isId = (text: string): boolean => ID_PATTERN.test(text);
