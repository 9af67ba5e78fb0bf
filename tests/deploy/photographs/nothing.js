// In place of modules of Node that the page never calls.
export default {};
export const inspect = {};
export const isatty = () => false;
export class Stream {}
