// The package hands out its component under two names, of which a bundler finds the wrong one.
import * as bundled from 'bundled-scrollbars';

export const Scrollbars = bundled.Scrollbars ?? bundled.default?.Scrollbars ?? bundled.default;
export default Scrollbars;
