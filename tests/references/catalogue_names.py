"""The names of all columns of the feature catalogue, sections 1 to 10, at default parameters, by table.

Written out from the catalogue's rows: `{k}` levels, `{s}` sides, `{K}` level sets, `{b}` bands, `{N}` notionals, `{w}`
the configured horizons, `{h}` half-lives. Columns that name their own windows have them here.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

VALUES: dict[str, tuple[object, ...]] = {
    "k": tuple(range(20)),
    "s": ("bid", "ask"),
    "K": (1, 3, 5, 10, 20),
    "b": ("0_5", "5_10", "10_25", "25_50", "50_100"),
    "hi": (5, 10, 25, 50, 100),
    "N": (1000, 10000, 100000, 1000000),
    "side": ("buy", "sell"),
    "g": tuple(range(5)),
    "m": tuple(range(10)),
    "w": (1, 5, 15, 30, 60, 300, 900),
    "h": (1, 10, 60, 600),
    "tau": (5, 60),
    "fit": ("", "_r2", "_t"),
}

_BOOK = """
ts seq dt_s n_levels_{s} is_crossed is_locked is_one_sided is_empty is_reset is_late book_age_s
{s}_price_l{k} {s}_size_l{k} mid spread spread_bps spread_ticks microprice microprice_dev_bps imbalance_l{k}
log_size_ratio_l0 touch_notional_{s} log_mid
depth_{s}_n{K} depth_notional_{s}_n{K} imbalance_n{K} depth_{s}_b{b} depth_cum_{s}_{hi}bps imbalance_b{b}
imbalance_cum_{hi}bps book_covers_{s}_100bps smart_depth_{s} decayed_depth_{s} imbalance_smart imbalance_decayed
vwap_depth_{s}_n{K} vwap_mid_n{K} vwap_mid_dev_bps_n{K} fill_price_{side}_{N} slippage_{side}_bps_{N}
round_trip_bps_{N} fillable_notional_{s} book_slope_{s} book_slope_reg_{s} book_slope_reg_r2_{s} book_slope_ns_{s}
slope_asym book_convexity_{s} hhi_{s} gini_{s} depth_entropy_{s} depth50_level_{s} depth50_bps_{s} cog_bps_{s}
cog_asym_bps wall_level_{s} wall_ratio_{s} wall_bps_{s} depth_decay_{s} gap_bps_{s}_l{g} max_gap_bps_{s}
book_width_bps pressure
ofi ofi_{s} mlofi_l{m} mlofi_sum mlofi_decay ofi_notional log_return micro_return dmid_ticks mid_velocity_bps_s
mid_accel_bps_s2 dspread_bps dimbalance_l0 ddepth_{s}_n5 {s}_move queue_depleted_{s} mid_tick_dir
n_updates_{w}s update_rate_{w}s ofi_sum_{w}s ofi_norm_{w}s mlofi_sum_l{m}_{w}s mlofi_decay_sum_{w}s
mlofi_norm_l{m}_60s ofi_integrated_60s ofi_integrated_300s ofi_z_{w}s ofi_mid_beta_300s ofi_mid_beta_3600s
ofi_mid_r2_300s ofi_mid_r2_3600s ofi_autocorr_60s ofi_autocorr_300s ret_{w}s velocity_bps_s_{w}s accel_bps_s2_{w}s
rv_{w}s rvol_{w}s rvol_ann_{w}s efficiency_ratio_{w}s mid_high_dev_bps_{w}s mid_low_dev_bps_{w}s range_bps_{w}s
spread_mean_bps_{w}s spread_std_bps_{w}s spread_min_bps_{w}s spread_max_bps_{w}s spread_tw_bps_{w}s spread_z_{w}s
spread_tight_frac_{w}s spread_wide_frac_{w}s spread_regime spread_regime_tight_frac_{w}s spread_regime_wide_frac_{w}s
imbalance_mean_{w}s imbalance_std_{w}s imbalance_tw_{w}s imbalance_sign_persist_{w}s depth_mean_n5_{w}s
depth_var_n5_{w}s depth_cv_n5_{w}s microprice_dev_mean_bps_{w}s mid_change_rate_{w}s mean_interupdate_s_{w}s
window_coverage_{w}s recovery_s_{s} lm_stat lm_jump
rv_g1_{w}s bpv_{w}s jump_var_{w}s jump_ratio_{w}s rs_pos_{w}s rs_neg_{w}s sjv_{w}s sjv_ratio_{w}s rskew_{w}s
rkurt_{w}s medrv_300s medrv_900s minrv_300s minrv_900s bns_z_300s bns_z_900s bns_z_3600s tsrv_300s tsrv_3600s
var_ratio_60s var_ratio_300s var_ratio_900s ret_autocorr_60s ret_autocorr_300s ret_autocorr_900s hurst_300s
hurst_3600s perm_entropy_300s spread_phi_300s spread_phi_3600s spread_half_life_s_300s spread_half_life_s_3600s
depth_phi_300s depth_phi_3600s depth_half_life_s_300s depth_half_life_s_3600s
"""
_ROLLING_TRADES = """
n_trades_{w}s n_buys_{w}s n_sells_{w}s volume_{w}s buy_volume_{w}s sell_volume_{w}s notional_{w}s tfi_{w}s
tfi_ratio_{w}s tfi_count_ratio_{w}s vwap_{w}s vwap_dev_bps_{w}s trade_size_mean_{w}s trade_size_std_{w}s
trade_size_max_{w}s trade_size_median_{w}s interarrival_mean_{w}s interarrival_std_{w}s interarrival_cv_{w}s
burstiness_{w}s large_share_{w}s large_imbalance_{w}s side_entropy_{w}s side_autocorr_60s side_autocorr_300s
side_autocorr_900s trade_rv_{w}s max_run_{w}s trade_price_range_bps_{w}s effective_spread_bps_{w}s
trade_intensity_hl{h}s buy_intensity_hl{h}s sell_intensity_hl{h}s intensity_imbalance_hl{h}s volume_intensity_hl{h}s
tfi_ew_hl{h}s large_intensity_hl{h}s intensity_ratio hawkes_lambda_{side}
"""
_IMPACT = """
kyle_lambda{fit} kyle_lambda_60s{fit} kyle_lambda_bps{fit} kyle_lambda_bps_60s{fit} hasbrouck_lambda{fit}
ofi_lambda{fit} amihud_60 roll_spread roll_spread_bps roll_measure_abs realised_spread_bps_{tau}_60s
realised_spread_bps_{tau}_300s price_impact_bps_{tau}_60s price_impact_bps_{tau}_300s vpin vpin_bvc vpin_bvc_bucket
vpin_cdf vpin_bucket_fill vpin_bucket_dur_s bvc_imbalance_300s bvc_imbalance_3600s ko_activity_300s ko_activity_3600s
ko_illiquidity_300s ko_illiquidity_3600s volume_clock_ratio_{w}s cs_spread_60s ar_spread_60s
ofi_ew_hl{h}s mlofi_decay_ew_hl{h}s book_intensity_hl{h}s bid_event_hl{h}s ask_event_hl{h}s rv_ew_hl{h}s
ticker_age_s quoted_bid_ask_vs_book_bps
"""
_TRADES = """
ts side side_source signed_size notional signed_notional trade_dt_s trade_log_return run_length large_trade
large_trade_fixed price_vs_mid_bps price_vs_micro_bps effective_spread_bps trade_through_bps size_vs_touch sweep_size
sweep_levels
"""
_TICKER = """
ts last_price mark_price index_price open_interest funding_rate volume_24h high_24h low_24h basis_bps premium_bps
last_vs_mid_bps funding_annualised time_to_funding_s oi_change_{w}s oi_change_pct_{w}s oi_price_quadrant_300s
oi_price_quadrant_3600s basis_z_300s basis_z_3600s funding_z pos_in_24h_range volume_24h_share_60s
volume_24h_share_3600s
"""
TEMPLATES = {
    "orderbook": _BOOK + _ROLLING_TRADES + _IMPACT,
    "trades": _TRADES + _ROLLING_TRADES,
    "ticker": _TICKER,
}


def expanded(table: str) -> set[str]:
    """Return the names of a table."""
    return {name for template in TEMPLATES[table].split() for name in _expand(template)}


def _expand(template: str) -> Iterable[str]:
    keys = re.findall(r"{(\w+)}", template)
    for values in itertools.product(*(VALUES[key] for key in keys)):
        yield template.format(**dict(zip(keys, values, strict=True)))
