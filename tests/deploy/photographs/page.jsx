// A dashboard in Grafana's own components, from a file of answers of Prometheus: for photographs, not for use.
//
// Drawn by @grafana/ui: panels' frames, numbers, bars, graphs and tables; by @grafana/data: transformations, units,
// thresholds, value mappings, overrides, Markdown. Neither package holds the state timeline or the heatmap of Grafana,
// so these two are drawn here. Left out: variables, annotations, links, and whatever takes a server.

import React, {useEffect, useState} from 'react';
import {createRoot} from 'react-dom/client';
import {
  applyFieldOverrides, createFieldConfigRegistry, createTheme, dateTime, FieldType, getFieldDisplayValues, LoadingState,
  renderMarkdown, standardFieldConfigEditorRegistry, standardTransformers, standardTransformersRegistry, ThemeContext,
  toDataFrame, transformDataFrame,
} from '@grafana/data';
import {BarGauge, BigValue, GlobalStyles, PanelChrome, Table, TimeSeries, TooltipDisplayMode, VizRepeater} from '@grafana/ui';

const {dashboard, answers, times, from, to} = window.PHOTOGRAPH;
const CELL = 30, GAP = 8, HEADING = 44;
const theme = createTheme({colors: {mode: 'dark'}});
const asWritten = (text) => text;

// ---- what Grafana registers when it starts

const property = (path, defaultValue) => ({
  id: path, path, name: path, editor: () => null, override: () => null, process: (value) => value, shouldApply: () => true,
  settings: {}, defaultValue,
});
standardFieldConfigEditorRegistry.setInit(() => [
  'displayName', 'description', 'unit', 'min', 'max', 'decimals', 'color', 'mappings', 'thresholds', 'noValue', 'links',
  'fieldMinMax', 'filterable', 'actions',
].map((path) => property(path)));
standardTransformersRegistry.setInit(() => [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map(
  (transformer) => ({id: transformer.id, name: transformer.name, transformation: () => Promise.resolve(transformer), editor: () => null})));
const registry = createFieldConfigRegistry({useCustomConfig: (builder) => {
  for (const path of ['drawStyle', 'lineWidth', 'lineStyle', 'fillOpacity', 'showPoints', 'pointSize', 'stacking', 'scaleDistribution',
    'thresholdsStyle', 'axisSoftMin', 'cellOptions']) { builder.addCustomEditor(property(path)); }
  builder.addCustomEditor(property('hideFrom', {viz: false, legend: false, tooltip: false}));
}}, 'photographs');
for (const panel of dashboard.panels) {
  // JSON has no -Infinity; Grafana puts it back when it loads a dashboard.
  for (const step of panel.fieldConfig?.defaults?.thresholds?.steps ?? []) { step.value = step.value ?? -Infinity; }
}

// ---- from answers to frames

function tableOf(target, series, several) {
  const labels = [...new Set(series.flatMap(({metric}) => Object.keys(metric)))].filter((label) => label !== '__name__');
  return toDataFrame({refId: target.refId, fields: [
    {name: 'Time', type: FieldType.time, values: series.map(({value}) => value[0] * 1000)},
    ...labels.map((label) => ({name: label, type: FieldType.string, values: series.map(({metric}) => metric[label])})),
    {name: several ? `Value #${target.refId}` : 'Value', type: FieldType.number, values: series.map(({value}) => Number(value[1]))},
  ]});
}

function frameOf(target, {metric, value, values}) {
  const name = (target.legendFormat ?? '').replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? '');
  const known = new Map((values ?? [value]).map(([time, number]) => [Math.round(time), Number(number)]));
  const asked = values ? times : [...known.keys()];
  // Graphs leave a gap where a number is not finite.
  const shown = (time) => Number.isFinite(known.get(time)) ? known.get(time) : null;
  return toDataFrame({refId: target.refId, fields: [
    {name: 'Time', type: FieldType.time, values: asked.map((time) => time * 1000)},
    {name: 'Value', type: FieldType.number, labels: metric, config: {displayNameFromDS: name}, values: asked.map(shown)},
  ]});
}

const framesOf = (panel) => panel.targets.flatMap((target) => {
  const series = answers[panel.id]?.[target.refId] ?? [];
  return target.format === 'table' ? [tableOf(target, series, panel.targets.length > 1)] : series.map((one) => frameOf(target, one));
});

const configured = (panel, data) => applyFieldOverrides({
  data, fieldConfig: panel.fieldConfig, replaceVariables: asWritten, theme, timeZone: 'utc', fieldConfigRegistry: registry,
});

// ---- kinds of panels

function Values({panel, data, width, height, draw, orientation}) {
  const values = getFieldDisplayValues({
    fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables: asWritten, theme, data,
    sparkline: panel.options.graphMode === 'area', timeZone: 'utc',
  });
  return <VizRepeater width={width} height={height} source={data} getValues={() => values} renderCounter={0} orientation={orientation}
    autoGrid={orientation === 'auto'} minVizHeight={16} minVizWidth={8} renderValue={draw}/>;
}

const Numbers = ({panel, ...rest}) => <Values panel={panel} {...rest} orientation="auto" draw={({value, width, height, count}) =>
  <BigValue theme={theme} width={width} height={height} value={value.display} sparkline={value.sparkline} count={count} text={{}} wideLayout
    colorMode={panel.options.colorMode} graphMode={panel.options.graphMode} justifyMode="auto" textMode="value"/>}/>;

const Bars = ({panel, ...rest}) => <Values panel={panel} {...rest} orientation="horizontal" draw={({value, width, height}) =>
  <BarGauge theme={theme} width={width} height={height} value={value.display} field={value.field} orientation="horizontal" showUnfilled
    display={value.view?.getFieldDisplayProcessor(value.colIndex)} displayMode={panel.options.displayMode} text={panel.options.text}
    valueDisplayMode={panel.options.valueMode}/>}/>;

const Graph = ({panel, data, width, height}) => <TimeSeries frames={data} width={width} height={height} timeZone="utc" structureRev={1}
  legend={panel.options.legend} options={{tooltip: {mode: TooltipDisplayMode.None}}} replaceVariables={asWritten}
  timeRange={{from: dateTime(from * 1000), to: dateTime(to * 1000), raw: {from: 'now-1h', to: 'now'}}}
  tweakScale={(scale) => scale} tweakAxis={(axis) => axis}>{() => null}</TimeSeries>;

function Timeline({data, width, height}) {
  const row = Math.min(40, height / Math.max(1, data.length)), names = 110, step = times[1] - times[0];
  const x = (time) => names + (time - from) / (to - from) * (width - names);
  return <svg width={width} height={height}>{data.map(({fields: [, states]}, index) => <g key={index} transform={`translate(0 ${index * row})`}>
    <text y={row / 2 + 4} fill={theme.colors.text.secondary} fontSize={12}>{states.config.displayNameFromDS}</text>
    {times.map((time, k) => states.values[k] != null && <rect key={time} x={x(time)} y={3} height={row - 6} width={x(time + step) - x(time) + 0.5}
      fill={states.display(states.values[k]).color}/>)}
    <text x={width - 60} y={row / 2 + 4} fill={theme.colors.text.maxContrast} fontSize={12}>
      {states.display(states.values.findLast((value) => value != null)).text}</text></g>)}</svg>;
}

function Heatmap({data, width, height}) {
  const bound = ({fields: [, counts]}) => counts.labels.le === '+Inf' ? Infinity : Number(counts.labels.le);
  const sorted = [...data].sort((one, other) => bound(one) - bound(other)).map(({fields: [, counts]}) => counts), names = 60;
  const cells = sorted.map(({values}, i) => values.map((count, k) => Math.max(0, count - (sorted[i - 1]?.values[k] ?? 0))));
  const most = Math.max(...cells.flat()), high = height / sorted.length, wide = (width - names) / times.length;
  return <svg width={width} height={height}>{cells.map((row, i) => <g key={i} transform={`translate(0 ${height - (i + 1) * high})`}>
    <text y={high - 2} fontSize={10} fill={theme.colors.text.secondary}>{sorted[i].labels.le}</text>
    {row.map((count, k) => count > 0 && <rect key={k} x={names + k * wide} width={wide} height={high - 1}
      fill={theme.visualization.getColorByName('blue')} opacity={0.15 + 0.85 * Math.sqrt(count / most)}/>)}</g>)}</svg>;
}

const KINDS = {
  'stat': Numbers, 'bargauge': Bars, 'timeseries': Graph, 'state-timeline': Timeline, 'heatmap': Heatmap,
  'table': ({panel, data, width, height}) => <Table data={data[0]} width={width} height={height} initialSortBy={panel.options.sortBy}/>,
};

function Body({panel, width, height}) {
  const [data, setData] = useState();
  useEffect(() => {
    if (panel.type === 'text') { return; }
    const subscription = transformDataFrame(panel.transformations ?? [], framesOf(panel)).subscribe((found) => setData(configured(panel, found)));
    return () => subscription.unsubscribe();
  }, []);
  if (panel.type === 'text') {
    return <div className="markdown-html" style={{padding: 8}} dangerouslySetInnerHTML={{__html: renderMarkdown(panel.options.content)}}/>;
  }
  const Kind = KINDS[panel.type];
  const nothing = <div style={{padding: 12, color: theme.colors.text.secondary}}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>;
  return data && (data.some((frame) => frame.length) ? <Kind panel={panel} data={data} width={width} height={height}/> : nothing);
}

class Shown extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return {error}; }
  render() { return this.state.error ? <pre style={{color: 'red'}}>{this.state.error.stack}</pre> : this.props.children; }
}

function Page() {
  const column = (window.innerWidth - GAP) / 24;
  return <div style={{position: 'relative', margin: GAP}}><h2 style={{color: theme.colors.text.primary}}>{dashboard.title}</h2>
    {dashboard.panels.map((panel) => {
      const {x, y, w, h} = panel.gridPos, width = w * column - GAP, height = h * (CELL + GAP) - GAP;
      const place = {position: 'absolute', left: x * column, top: HEADING + y * (CELL + GAP), width, height};
      return <div key={panel.id} style={place}>{panel.type === 'row'
        ? <h4 style={{color: theme.colors.text.primary, paddingTop: 8}}>{panel.title}</h4>
        : <Shown><PanelChrome title={panel.title} description={panel.description} width={width} height={height} loadingState={LoadingState.Done}>
          {(innerWidth, innerHeight) => <Shown><Body panel={panel} width={innerWidth} height={innerHeight}/></Shown>}</PanelChrome></Shown>}</div>;
    })}</div>;
}

document.body.style.background = theme.colors.background.canvas;
createRoot(document.getElementById('root')).render(<ThemeContext.Provider value={theme}><GlobalStyles/><Page/></ThemeContext.Provider>);
