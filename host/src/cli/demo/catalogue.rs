//! What the demo's chain sells, where, and who comes: fixed tables, no rules.

use crate::domain::permission::Role;

/// A thing on the shelf.
pub(super) struct Ware {
    pub(super) sku: &'static str,
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    pub(super) price_fen: i64,
}

const fn ware(sku: &'static str, name: &'static str, class: &'static str, price_fen: i64) -> Ware {
    Ware { sku, name, class, price_fen }
}

/// Everything on the shelves; drinks first, because most visits begin with one.
pub(super) const WARES: &[Ware] = &[
    ware("COF-AME", "美式咖啡 Americano", "coffee", 2_200),
    ware("COF-LAT", "拿铁 Latte", "coffee", 2_800),
    ware("COF-FLW", "澳白 Flat White", "coffee", 3_000),
    ware("COF-OSM", "桂花拿铁 Osmanthus Latte", "coffee", 3_200),
    ware("COF-POU", "云南手冲 Yunnan Pour-over", "coffee", 3_800),
    ware("TEA-LJG", "龙井冷泡 Cold Brew Longjing", "coffee", 2_600),
    ware("FOO-CRO", "可颂 Croissant", "food", 1_800),
    ware("FOO-BAS", "巴斯克蛋糕 Basque Cheesecake", "food", 3_600),
    ware("FOO-SAN", "鸡蛋三明治 Egg Sandwich", "food", 2_400),
    ware("BEA-YUN", "云南咖啡豆 250g Yunnan Beans", "beans", 8_800),
    ware("BEA-ETH", "耶加雪菲 250g Yirgacheffe Beans", "beans", 11_800),
    ware("BOO-3BP", "三体（全集）", "books", 9_300),
    ware("BOO-WCH", "围城", "books", 3_900),
    ware("BOO-HLM", "红楼梦", "books", 5_980),
    ware("BOO-LZJ", "棋王", "books", 3_200),
    ware("BOO-SHA", "上海的弄堂（摄影集）", "books", 12_800),
    ware("BOO-PRI", "Pride and Prejudice", "books", 6_800),
    ware("BOO-SIN", "Invisible Cities", "books", 7_500),
    ware("BOO-KID", "好饿的毛毛虫（绘本）", "books", 4_200),
    ware("GIF-MUG", "外滩马克杯 Bund Mug", "gifts", 7_900),
    ware("GIF-TOT", "帆布袋 Tote Bag", "gifts", 5_900),
    ware("GIF-NOT", "笔记本 Notebook", "gifts", 3_500),
];

/// How many of [`WARES`], from the first, are drinks and food.
pub(super) const DRINKS: usize = 6;
/// The range of [`WARES`] that goes with a drink.
pub(super) const FOODS: std::ops::Range<usize> = 6..9;
/// The range of [`WARES`] that is taken home.
pub(super) const TAKEN_HOME: std::ops::Range<usize> = 9..22;

/// An org unit: its name, and the place of its parent in the table.
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) parent: Option<usize>,
    /// How its orders name it; `None` for a unit that sells nothing.
    pub(super) store: Option<&'static str>,
}

const fn unit(name: &'static str, parent: Option<usize>, store: Option<&'static str>) -> Unit {
    Unit { name, parent, store }
}

/// The chain's tree; parents stand before their children.
pub(super) const UNITS: &[Unit] = &[
    unit("墨舟书咖总部 Inkboat Books & Coffee", None, None),
    unit("浦西大区 Puxi", Some(0), None),
    unit("浦东大区 Pudong", Some(0), None),
    unit("线上商城 Online", Some(0), Some("online")),
    unit("静安寺店 Jing'an Temple", Some(1), Some("jingan")),
    unit("武康路店 Wukang Road", Some(1), Some("wukang")),
    unit("五角场店 Wujiaochang", Some(1), Some("wujiaochang")),
    unit("陆家嘴店 Lujiazui", Some(2), Some("lujiazui")),
    unit("世纪公园店 Century Park", Some(2), Some("century-park")),
];

/// Somebody who works for the chain.
pub(super) struct Worker {
    pub(super) email: &'static str,
    pub(super) name: &'static str,
    pub(super) role: Role,
    /// Their place in [`UNITS`].
    pub(super) unit: usize,
}

const fn worker(email: &'static str, name: &'static str, role: Role, unit: usize) -> Worker {
    Worker { email, name, role, unit }
}

/// The people with a login, the owner first.
pub(super) const WORKERS: &[Worker] = &[
    worker("owner@inkboat.example", "沈知远 Shen Zhiyuan", Role::Owner, 0),
    worker("admin@inkboat.example", "Priya Nair", Role::Admin, 0),
    worker("puxi@inkboat.example", "顾清 Gu Qing", Role::Manager, 1),
    worker("pudong@inkboat.example", "Daniel Weber", Role::Manager, 2),
    worker("jingan@inkboat.example", "林小满 Lin Xiaoman", Role::Agent, 4),
    worker("wukang@inkboat.example", "何一鸣 He Yiming", Role::Agent, 5),
    worker("corporate@inkboat.example", "周安 Zhou An", Role::Sales, 0),
    worker("marketing@inkboat.example", "陆可 Lu Ke", Role::Marketing, 0),
    worker("analyst@inkboat.example", "Mei Tanaka", Role::Analyst, 0),
    worker("auditor@inkboat.example", "方正 Fang Zheng", Role::Auditor, 0),
];

/// The place in [`WORKERS`] of who owns the companies among the customers.
pub(super) const CORPORATE_SALES: usize = 6;

/// Family names, the frequent ones more than once.
pub(super) const FAMILY_NAMES: &[&str] = &[
    "王", "王", "李", "李", "张", "张", "刘", "陈", "陈", "杨", "黄", "赵", "吴", "吴", "周", "徐", "孙",
    "马", "朱", "胡", "林", "郭", "何", "高", "罗", "郑", "梁", "谢", "宋", "唐", "沈", "陆", "顾", "欧阳",
];

/// Given names.
pub(super) const GIVEN_NAMES: &[&str] = &[
    "伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "洋", "艳", "勇", "军", "杰", "娟", "涛", "明", "雨桐",
    "子涵", "欣怡", "梓轩", "浩然", "思远", "诗涵", "宇航", "佳琪", "一诺", "若曦", "俊熙", "晓彤", "文博",
    "嘉懿", "天佑", "雅婷", "建国", "秀英",
];

/// Names of customers from elsewhere.
pub(super) const FOREIGN_NAMES: &[&str] = &[
    "Emma Fischer",
    "Lucas Martin",
    "Olivia Brown",
    "Haruto Sato",
    "Sofia Rossi",
    "Noah Williams",
    "Chloé Dubois",
    "Min-jun Kim",
    "Anna Kowalska",
    "Arjun Mehta",
    "Isabella García",
    "Liam O'Connor",
    "Freya Nielsen",
    "Mateus Silva",
    "Zoe Anderson",
    "Viktor Novák",
];

/// Companies that buy for their offices.
pub(super) const COMPANY_NAMES: &[&str] = &[
    "上海云帆科技有限公司",
    "浦江设计事务所",
    "Huangpu Legal Partners",
    "申城出版社",
    "东方律动健身",
    "Suzhou Creek Studios",
    "静安国际学校",
    "Lakeside Hotel Shanghai",
    "远景咨询",
    "弄堂民宿",
    "Blue Kite Logistics",
    "海派文化基金会",
];

/// A contact with a customer: its channel, direction and what it was about.
pub(super) const CONTACTS: &[(&str, &str, &str)] = &[
    ("phone", "inbound", "询问《三体》签名版是否到货"),
    ("chat", "inbound", "Asked whether oat milk is available at Wukang Road"),
    ("email", "outbound", "会员日邀请：周六手冲品鉴会"),
    ("chat", "inbound", "订单少了一只马克杯，已补寄"),
    ("in_person", "inbound", "在店里参加了读书会，想加入每月书单"),
    ("email", "inbound", "Requested an invoice for the office order"),
    ("phone", "outbound", "回访：对新豆子的评价很好"),
    ("chat", "inbound", "忘记出示会员码，请求补登积分"),
];

/// What a customer does on the shop's pages.
pub(super) const BEHAVIOURS: &[&str] =
    &["page_viewed", "product_viewed", "cart_abandoned", "newsletter_opened"];
